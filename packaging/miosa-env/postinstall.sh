#!/bin/sh
# After an installation or an upgrade. deb says "configure" and, for an upgrade, which version was there;
# rpm says how many versions are installed now.
set -e
case "$1" in
  configure) before=$2 ;;
  1) before= ;;
  [2-9]) before=one ;;
  *) exit 0 ;;
esac
if command -v systemd-sysusers >/dev/null; then
  systemd-sysusers miosa-env.conf
fi
if command -v systemd-tmpfiles >/dev/null; then
  systemd-tmpfiles --create miosa-env.conf || : # where /run isn't there yet, the boot does it
fi
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  # The first time it is for the administrator to say whose values are meant, and to start it.
  if [ -n "$before" ]; then
    systemctl try-restart miosa-env.service
  fi
fi
