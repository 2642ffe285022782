#!/bin/bash
# data.ext4: what lasts. Made small, with a journal for a large one: it grows at the first start, when its folders are made, too.
set -eu

mkdir "$OUT/tree"
touch --date="@$SOURCE_DATE_EPOCH" "$OUT/tree"
export E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH
mke2fs -q -t ext4 -L pocket-data -U "$DATA_UUID" -E hash_seed="$DATA_UUID",lazy_itable_init=0,lazy_journal_init=0,resize=134217728 \
    -b 4096 -I 256 -i 16384 -m 1 -J size=32 -O ^metadata_csum_seed -d "$OUT/tree" "$OUT/data.ext4" "${DATA_MIB}M"
rmdir "$OUT/tree"
