#!/bin/sh
# Before a removal. deb says "remove", rpm how many versions stay: at an upgrade the service runs on.
set -e
case "$1" in
  remove | 0) ;;
  *) exit 0 ;;
esac
if [ -d /run/systemd/system ]; then
  systemctl disable --now miosa-egress.service || :
elif command -v systemctl >/dev/null; then
  systemctl disable miosa-egress.service || :
fi
