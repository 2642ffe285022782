# What U-Boot runs: starts the version that is in force, or a new one that is being tried, and counts its tries.
#
# The partition pocket-state has two copies of some variables, each a block of 4 KiB as `env export -c` writes it (a CRC-32, then
# name=value texts): the first at 0, the second at 64 KiB. The first one that is whole counts. At a change the other one is written
# before it, so that one is whole at any instant.
#   pocket_version   what is started
#   pocket_try       what is to be started instead, as long as pocket_left is not 0; empty for none
#   pocket_left      how many tries it has left
#   pocket_old       what was started before pocket_version
#   pocket_bad       what was tried last and did not prove itself
# A new version that has proved itself makes itself pocket_version; one that does not is given up when no tries are left. The system
# has the same rules in slots_start.py (image/overlay).

setenv pocket_names pocket_version pocket_try pocket_left pocket_old pocket_bad
part start ${devtype} ${devnum} pocket-state pocket_block
setexpr pocket_second ${pocket_block} + 0x80
for pocket_name in ${pocket_names}; do setenv ${pocket_name}; done
setenv pocket_left 0

${devtype} read ${pxefile_addr_r} ${pocket_block} 8
if env import -c ${pxefile_addr_r} 0x1000 ${pocket_names}; then
    echo "pocket: state 1"
    setenv pocket_order ${pocket_second} ${pocket_block}
else
    setenv pocket_order ${pocket_block} ${pocket_second}
    ${devtype} read ${pxefile_addr_r} ${pocket_second} 8
    if env import -c ${pxefile_addr_r} 0x1000 ${pocket_names}; then
        echo "pocket: state 2"
    else
        setenv pocket_version @VERSION@
    fi
fi

setenv pocket_start ${pocket_version}
if test -n "${pocket_try}"; then
    if test ${pocket_left} -gt 0; then
        setexpr pocket_left ${pocket_left} - 1
        setenv pocket_start ${pocket_try}
    else
        setenv pocket_bad ${pocket_try}
        setenv pocket_try
    fi
    env export -c -s 0x1000 ${pxefile_addr_r} ${pocket_names}
    for pocket_at in ${pocket_order}; do
        ${devtype} write ${pxefile_addr_r} ${pocket_at} 8
    done
fi

for pocket_file in ${pocket_start} ${pocket_version} ${pocket_old}; do
    echo "pocket: starting ${pocket_file}"
    if load ${devtype} ${devnum}:${distro_bootpart} ${ramdisk_addr_r} EFI/pocket/pocket_${pocket_file}.efi; then
        bootefi ${ramdisk_addr_r} ${fdt_addr}
    fi
done
echo "pocket: nothing can be started"
sleep 10
reset
