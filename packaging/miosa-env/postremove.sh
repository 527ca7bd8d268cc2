#!/bin/sh
# After a removal: deletes the files that the agent wrote. deb may say "purge" later: then it deletes the configuration and
# the group too; rpm keeps both.
set -e
case "$1" in
  remove | purge | 0) ;;
  *) exit 0 ;;
esac
rm -rf /run/miosa-env /var/lib/miosa-env
if [ "$1" = purge ]; then
  rm -rf /etc/miosa-env
  if getent group miosa-env >/dev/null; then
    groupdel miosa-env || :
  fi
fi
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload || :
  systemctl reset-failed miosa-env.service 2>/dev/null || : # else it is listed as long as it isn't forgotten
fi
