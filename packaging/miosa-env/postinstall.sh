#!/bin/sh
# After an installation, an upgrade or a downgrade. deb says "configure" and, unless it is the first time, which version
# was there; after an upgrade that failed it says "abort-upgrade", and the old version ran on. rpm says how many versions
# are installed now.
set -e
case "$1" in
  configure) before=$2 ;;
  1) before='' ;;
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
  systemctl daemon-reload || :
  # The first time, the administrator sets the resource and the key and starts it. This doesn't wait until it is ready, which
  # it never is without a vault.
  if [ -n "$before" ]; then
    systemctl --no-block try-restart miosa-env.service || :
  fi
fi
