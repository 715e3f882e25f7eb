#!/bin/sh
# Lays out the root folder of an image: one program, the shared libraries it is linked with, and what names its user. No shell.
#
#   root.sh PROGRAM USER NUMBER FOLDER
#
# The same bytes give the same folder: names, modes and owners are set here, times by the build (--timestamp).
set -eu
program=$1 user=$2 number=$3 folder=$4

rm -rf "$folder"
mkdir -p "$folder/etc/ssl/certs"
install -D -m 0755 "$program" "$folder/usr/bin/$(basename "$program")"
# `libc.so.6 => /lib/…/libc.so.6 (0x…)`, and the loader, `/lib64/ld-linux-x86-64.so.2 (0x…)`.
ldd "$program" | sed -nE 's#^[^/]*(/[^ ]+) \(0x[0-9a-f]+\)$#\1#p' | while read -r library; do
    install -D -m 0755 "$library" "$folder$library"
done

printf 'root:x:0:0::/:/sbin/nologin\n%s:x:%s:%s::/:/sbin/nologin\n' "$user" "$number" "$number" >"$folder/etc/passwd"
printf 'root:x:0:\n%s:x:%s:\n' "$user" "$number" >"$folder/etc/group"
# Resolving is in glibc itself since 2.34: nothing else is loaded for these two.
printf 'hosts: files dns\n' >"$folder/etc/nsswitch.conf"
# Authorities of the KMS and of a database without `ca_file`. The proxy brings its own for PSPs.
if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
    install -m 0644 /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/ca-certificates.crt"
fi
find "$folder" -type d -exec chmod 0755 {} +
chmod 0644 "$folder/etc/passwd" "$folder/etc/group" "$folder/etc/nsswitch.conf"
