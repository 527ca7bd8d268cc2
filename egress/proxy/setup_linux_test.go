package proxy_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/egress/proxy"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/document"
	"github.com/Miosa-osa/miosa-env/internal/test/netns"
)

// The setups of the guide: containers and a virtual machine whose only way out is the broker.
func TestSetups(t *testing.T) {
	t.Parallel()
	needs.Root(t, "to connect network namespaces")
	needs.Command(t, "ip", "nft", "curl", "python3", "unshare", "mount")
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	upstream := w.server(t, true, echo)
	outside, guest := netns.New(t), netns.New(t)
	outside.Run(t, "ip", "link", "set", "lo", "up")
	for _, l := range []struct {
		port        int
		transparent bool
	}{{3128, false}, {3129, true}} {
		var listener net.Listener
		var err error
		outside.Do(func() { listener, err = net.Listen("tcp4", fmt.Sprintf(":%d", l.port)) })
		if err != nil {
			t.Fatal(err)
		}
		run(t, proxy.New(w.Config), proxy.Listener{Listener: listener, Transparent: l.transparent})
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "ca.pem"), w.authority.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	// Named namespaces are mounts below /run.
	const begin = "mount -t tmpfs none /run\n"
	shell := func(t *testing.T, in *netns.Network, script string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-eu")
		c.Dir, c.Env, c.Stdin = folder, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + folder}, strings.NewReader(script)
		var out []byte
		var err error
		in.Do(func() { out, err = c.CombinedOutput() })
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return string(out)
	}
	setup := document.Read(t, "../../docs/egress.md").Script(t, "TestSetups", "sh")

	// The machine's device is connected to one of the guest.
	if out := shell(t, outside, begin+setup+containers(upstream)); t.Failed() {
		t.Fatal(out)
	} else if want := strings.Repeat("ok\n", 7); out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	connect(t, outside, "sb_3", guest, "eth0")
	guest.Run(t, "ip", "addr", "add", "10.200.3.2/30", "dev", "eth0")
	guest.Run(t, "ip", "route", "add", "default", "via", "10.200.3.1")
	if out := shell(t, guest, strings.NewReplacer("ip netns exec sb_1 ", "", "10.200.1.1", "10.200.3.1").Replace(inside(upstream))); out != strings.Repeat("ok\n", 4) {
		t.Errorf("got %q", out)
	}
}

// inside is a script that prints ok for each thing that must be so in a sandbox: requests are swapped over the redirected
// connection, and over the proxy; the authority is served; and UDP is rejected.
func inside(upstream int) string {
	request := fmt.Sprintf(`curl --silent --show-error --max-time 30 --cacert ca.pem -H "Authorization: Bearer %s" https://%s:%d/`, placeholder, host, upstream)
	swapped := fmt.Sprintf(` | grep -q "Bearer \*\{%d\}$"`, len(masked))
	return fmt.Sprintf(`
ip netns exec sb_1 %s --connect-to ::%s: %s && echo ok
ip netns exec sb_1 %s --proxy http://10.200.1.1:3128 %s && echo ok
ip netns exec sb_1 curl --silent --show-error --max-time 30 http://10.200.1.1:3128/ca.pem | cmp - ca.pem && echo ok
ip netns exec sb_1 python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(30)
s.connect(("%s", 443))
s.send(b"hello")
try:
    s.recv(1)
except ConnectionRefusedError:
    print("ok")
'
`, request, server4, swapped, request, swapped, server4)
}

// containers is inside for a container, and that others don't reach its listeners: another one, and the host.
func containers(upstream int) string {
	return inside(upstream) + `
ip netns exec sb_2 curl --silent --show-error --max-time 30 http://10.200.2.1:3128/ca.pem | cmp - ca.pem && echo ok
for others in "ip netns exec sb_2" ""; do
	$others curl --silent --connect-timeout 1 http://10.200.1.1:3128/ca.pem || test $? = 28 && echo ok
done
`
}

// connect passes the frames of two tap devices, each in its network, to each other, until the test ends: a virtual machine whose device
// is the second one.
func connect(t *testing.T, in *netns.Network, device string, guest *netns.Network, own string) {
	t.Helper()
	one, two := tap(t, in, device), tap(t, guest, own)
	guest.Run(t, "ip", "link", "set", own, "up")
	for _, way := range [][2]*os.File{{one, two}, {two, one}} {
		go func() {
			frame := make([]byte, 1<<16)
			for {
				n, err := way[0].Read(frame)
				if err != nil {
					return
				}
				_, _ = way[1].Write(frame[:n])
			}
		}()
	}
}

// tap opens a tap device.
func tap(t *testing.T, in *netns.Network, name string) *os.File {
	t.Helper()
	var fd int
	var err error
	in.Do(func() {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return
		}
		var request *unix.Ifreq
		if request, err = unix.NewIfreq(name); err == nil {
			request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
	})
	needs.Granted(t, err, "a tap device")
	f := os.NewFile(uintptr(fd), name)
	t.Cleanup(func() { _ = f.Close() })
	return f
}
