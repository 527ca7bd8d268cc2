package arm64test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// root is the repository, relative to this package's folder.
const root = "../../.."

// longest is the time limit of a boot with all its tests. A test program has half of it, so that the goroutines of a test that
// hangs are in the machine's output.
const longest = 20 * time.Minute

// start is the init program. It mounts the usual file systems, runs /tests and turns the machine off.
const start = `#!/bin/sh
export PATH=/bin:/usr/bin:/sbin:/usr/sbin HOME=/root LC_ALL=C
/bin/busybox --install -s /usr/bin 2>/dev/null
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
mount -t devpts pts /dev/pts
for place in /dev/shm /run /tmp; do mount -t tmpfs tmpfs $place; done
chmod 1777 /dev/shm /tmp
chmod 755 /run
ip link set lo up
setsid sh /tests 2>&1
poweroff -f
`

// goWrapper replaces the go command, because tests build programs: it returns binaries that were built for them
// before.
const goWrapper = `#!/bin/sh
while [ $# -gt 1 ]; do [ "$1" = -o ] && out=$2; shift; done
case $out in */) exec cp -r "$PWD/built/." "$out" ;; esac
case $1 in .) exec cp -r "$PWD/built/." "$out" ;; *) exec cp "$PWD/built/${1##*/}" "$out" ;; esac
`

// twice runs a test program with its flags, and then runs its failed tests once more, sequentially: an emulated
// processor under load is sometimes too slow for tests with time limits. The output is in a file, because a process that a
// test leaves behind would keep a pipe open.
const twice = `#!/bin/sh
"$@" >/tmp/first 2>&1
cat /tmp/first
failed=$(sed -n 's/^ *--- FAIL: \([^ ]*\) .*/\1/p' /tmp/first)
for name in $failed; do
	case " $failed" in *"$name"/*) continue ;; esac # its parts are run
	program=$1
	echo "AGAIN: $name"
	"$program" -test.v -test.run="^$(echo "$name" | sed 's,/,$/^,g')\$"
done
`

// machine is the input of a boot: files on top of Debian's root directory.
type machine struct {
	*testing.T
	debian, dir string
	tests       strings.Builder // lines of /tests
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{T: t, debian: debian(t), dir: t.TempDir()}
	m.write("init", start)
	m.write("usr/bin/go", goWrapper)
	m.write("usr/bin/twice", twice)
	return m
}

// write adds a program.
func (m *machine) write(path, text string) {
	m.Helper()
	path = filepath.Join(m.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		m.Fatal(err)
	}
}

// build runs go in the repository, for arm64.
func (m *machine) build(args ...string) {
	m.Helper()
	ctx, cancel := context.WithTimeout(m.Context(), longest)
	defer cancel()
	c := exec.CommandContext(ctx, "go", args...)
	c.Dir, c.Env = root, append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		m.Fatalf("go %s: %v\n%s", args[0], err, out)
	}
}

// add adds the tests of a package, with flags for its test program.
func (m *machine) add(pkg string, flags ...string) {
	m.Helper()
	m.build("test", "-c", "-ldflags=-s -w", "-o", filepath.Join(m.dir, "repository", pkg, "tests"), "./"+pkg)
	if data := filepath.Join(root, pkg, "testdata"); exists(data) {
		if err := os.CopyFS(filepath.Join(m.dir, "repository", pkg, "testdata"), os.DirFS(data)); err != nil {
			m.Fatal(err)
		}
	}
	m.tests.WriteString("cd /repository/" + pkg + " && twice ./tests -test.v -test.timeout=" + (longest / 2).String() + " '" + strings.Join(flags, "' '") + "'\n")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// boot starts the machine, waits until it is off, and returns its output.
func (m *machine) boot() string {
	m.Helper()
	m.write("tests", m.tests.String())
	image := filepath.Join(m.TempDir(), "image")
	pack := exec.CommandContext(m.Context(), "sh", "-euc", `{ cat "$1"; cd "$2"; find . | cpio --quiet -o -H newc; } >"$3"`, "sh", filepath.Join(m.debian, "base.cpio"), m.dir, image)
	if out, err := pack.CombinedOutput(); err != nil {
		m.Fatalf("cpio: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(m.Context(), longest)
	defer cancel()
	c := exec.CommandContext(ctx, "qemu-system-aarch64", "-M", "virt", "-cpu", "max,pauth-impdef=on", "-smp", "2", "-m", "2048", "-no-reboot",
		"-nographic", "-nodefaults", "-serial", "stdio", "-kernel", filepath.Join(m.debian, "vmlinuz"), "-initrd", image,
		"-append", "console=ttyAMA0 quiet panic=-1 secretmem.enable=1")
	var printed bytes.Buffer
	c.Stdout, c.Stderr, c.WaitDelay = &printed, &printed, time.Second
	if err := c.Run(); err != nil {
		m.Errorf("the machine didn't turn itself off within %v: %v", longest, err)
	}
	return strings.ReplaceAll(printed.String(), "\r", "")
}
