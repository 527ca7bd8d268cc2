#!/bin/sh
# After a removal: deletes the cache and the certificates. deb may say "purge" later: then it deletes the configuration, the
# keys of certificate authorities and the user too; rpm keeps these.
set -e
case "$1" in
  remove | purge | 0) ;;
  *) exit 0 ;;
esac
rm -rf /run/miosa-egress /var/lib/miosa-egress
if [ "$1" = purge ]; then
  rm -rf /etc/miosa-egress /var/lib/miosa-egress-ca
  if getent passwd miosa-egress >/dev/null; then
    userdel miosa-egress || :
  fi
  if getent group miosa-egress >/dev/null; then
    groupdel miosa-egress || :
  fi
fi
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload || :
  systemctl reset-failed miosa-egress.service 2>/dev/null || : # else it is listed as long as it isn't forgotten
fi
