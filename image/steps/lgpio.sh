#!/bin/bash
# The library for GPIO pins, compiled for the board: two files that go beside the wheels.
set -eu

case $ARCH in
amd64) machine=x86_64 ;;
arm64) machine=aarch64 ;;
esac
mkdir "$OUT/source" "$OUT/site"
tar -xf "$WHEELS"/lgpio-*.tar.gz -C "$OUT/source" --strip-components=1
cd "$OUT/source"
swig -python lgpio.i
"$machine-linux-gnu-gcc" -shared -fPIC -s -O2 -DNDEBUG -w -pthread -ffile-prefix-map="$PWD"=. \
    -ffile-prefix-map="$DEBS"=. -Wl,--build-id=none -Isrc \
    -I"$DEBS/tree/usr/include/python3.13" -I"$DEBS/tree/usr/include" lgpio_wrap.c src/lg*.c src/rgpiod.c -lrt -ldl \
    -o "$OUT/site/_lgpio.cpython-313-$machine-linux-gnu.so"
cp lgpio.py "$OUT/site/"
cd /
rm -rf "$OUT/source"
