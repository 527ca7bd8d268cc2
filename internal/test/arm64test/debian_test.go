package arm64test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"golang.org/x/sys/unix"
)

// download makes apt download packages for arm64 with their dependencies and unpacks them. It installs nothing and
// does not change apt's lists on this machine. Files that the kernel loads first go into base.cpio, without those
// that no test reads; later archives override it.
const download = `
mkdir -p lists/partial archives/partial tree
echo 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main' >sources.list
: >status
get() {
	apt-get -qq -y -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root -o Acquire::Languages=none \
		-o Dir::State::Lists="$PWD/lists" -o Dir::State::status="$PWD/status" -o Dir::Cache="$PWD" -o Dir::Cache::Archives="$PWD/archives" \
		-o Dir::Etc::SourceList="$PWD/sources.list" -o Dir::Etc::SourceParts=/dev/null "$@"
}
get update
get install --download-only --no-install-recommends linux-image-cloud-arm64 bash dash coreutils util-linux procps mount sed grep findutils iproute2 busybox-static
for package in archives/*.deb; do dpkg-deb -x "$package" tree; done
mv tree/boot/vmlinuz-* vmlinuz
rm -rf lists archives *.bin tree/boot tree/lib/modules tree/usr/share tree/usr/lib/aarch64-linux-gnu/perl*
ln -sf dash tree/bin/sh
echo 'root:x:0:0:root:/root:/bin/sh' >tree/etc/passwd
echo 'nobody:x:65534:65534:nobody:/nonexistent:/bin/false' >>tree/etc/passwd
echo '127.0.0.1 localhost' >tree/etc/hosts
(cd tree && find . | cpio --quiet -o -H newc) >base.cpio
rm -rf tree
`

// debian returns a folder with vmlinuz and base.cpio, or skips the test if they are not available.
func debian(t *testing.T) string {
	t.Helper()
	needs.Root(t, "to make the first file system of a kernel for arm64")
	needs.Command(t, "qemu-system-aarch64", "apt-get", "dpkg-deb", "cpio")
	dir := filepath.Join(os.TempDir(), "miosa-env-arm64-bookworm")
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	part := dir + ".part"
	if err := errors.Join(os.RemoveAll(part), os.Mkdir(part, 0o755)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "sh", "-euc", download)
	c.Dir, c.WaitDelay = part, time.Second
	if out, err := c.CombinedOutput(); err != nil {
		needs.System(t, "a kernel for arm64 from Debian: %v\n%s", err, out[max(0, len(out)-1000):])
	}
	if err := os.Rename(part, dir); err != nil {
		t.Fatal(fmt.Errorf("keep the kernel: %w", err))
	}
	return dir
}
