# Sourced by steps that run programs of another architecture: has the kernel start them in an emulator, if it does not yet. A mount of a step's own: it ends
# with the step.

# emulate ARCH: returns when programs of that Debian architecture can run here.
emulate() {
    [ "$1" != "$(dpkg --print-architecture)" ] || return 0
    local folder=/proc/sys/fs/binfmt_misc name=qemu-aarch64
    [ -e $folder/register ] || mount -t binfmt_misc binfmt_misc $folder
    [ ! -e $folder/$name ] || return 0
    # Its flag F has the emulator opened now, so that it is found in other folders, too.
    cat /usr/lib/binfmt.d/$name.conf >$folder/register
}
