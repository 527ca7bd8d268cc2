package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/egress/proxy"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/netns"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// The addresses of the sandbox and of the broker in its network, and two on the internet.
const (
	sandbox4, broker4, server4 = "198.18.77.2", "198.18.77.1", "203.0.113.10"
	sandbox6, broker6, server6 = "fd77::2", "fd77::1", "2001:db8::10"
)

// redirect makes a network of a sandbox whose connections arrive at a transparent proxy in another network.
func redirect(t *testing.T, w *world) (sandbox *netns.Network, proxyPort int) {
	t.Helper()
	needs.Root(t, "to connect two network namespaces")
	needs.Command(t, "ip", "nft")
	sandbox, broker := netns.New(t), netns.New(t)
	broker.Run(t, "ip", "link", "add", "sandbox", "type", "veth", "peer", "name", "broker", "netns", sandbox.Name())
	for _, end := range []struct {
		in                     *netns.Network
		device, four, six, via string
	}{{broker, "sandbox", broker4, broker6, ""}, {sandbox, "broker", sandbox4, sandbox6, broker4}} {
		end.in.Run(t, "ip", "link", "set", "lo", "up")
		end.in.Run(t, "ip", "addr", "add", end.four+"/30", "dev", end.device)
		end.in.Run(t, "ip", "-6", "addr", "add", end.six+"/64", "dev", end.device, "nodad")
		end.in.Run(t, "ip", "link", "set", end.device, "up")
		if end.via != "" {
			end.in.Run(t, "ip", "route", "add", "default", "via", broker4)
			end.in.Run(t, "ip", "-6", "route", "add", "default", "via", broker6)
		}
	}
	var l net.Listener
	var err error
	broker.Do(func() { l, err = net.Listen("tcp", "[::]:0") })
	if err != nil {
		t.Fatal(err)
	}
	proxyPort = port(l.Addr())
	rules := filepath.Join(t.TempDir(), "rules.nft")
	text := fmt.Sprintf("table inet egress {\n\tchain prerouting {\n\t\ttype nat hook prerouting priority dstnat;\n"+
		"\t\tiifname \"sandbox\" meta l4proto tcp redirect to :%d\n\t}\n}\n", proxyPort)
	if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	broker.Run(t, "nft", "-f", rules)
	run(t, proxy.New(w.Config), proxy.Listener{Listener: l, Transparent: true})
	return sandbox, proxyPort
}

// Connections that the kernel redirects are for the host in their TLS handshake, at the port that the client has connected
// to, with IPv4 and IPv6.
func TestTransparent(t *testing.T) {
	t.Parallel()
	needs.Command(t, "curl")
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	w.allow(other, false)
	w.deny("r_host", "denied.example.com", "")
	upstream := w.server(t, true, echo)
	plain := listen(t)
	server := &http.Server{Handler: http.HandlerFunc(echo), ReadHeaderTimeout: generous}
	go server.Serve(plain) // until the listener is closed
	sandbox, proxyPort := redirect(t, w)
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bundle, append(w.authority.PEM(), w.internet.PEM()...), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, url, want string
		to              string // the address
		args            []string
	}{
		{name: "swapped", url: urlOf(host, upstream, "/"), to: server4, want: fmt.Sprintf("HTTP/2.0 %s:%d Bearer %s\n", host, upstream, masked)},
		{name: "swapped over IPv6", url: urlOf(host, upstream, "/"), to: "[" + server6 + "]", want: fmt.Sprintf("HTTP/2.0 %s:%d Bearer %s\n", host, upstream, masked)},
		{name: "spliced", url: urlOf(other, upstream, "/"), to: server4, want: fmt.Sprintf("HTTP/2.0 %s:%d Bearer %s\n", other, upstream, placeholder)},
		{name: "denied", url: urlOf("denied.example.com", upstream, "/"), to: server4, want: "exit status 35"},
		{name: "fronted", url: urlOf(host, upstream, "/"), to: server4, args: []string{"-H", "Host: " + other}, want: `"reason":"host"`},
		{name: "an address", url: urlOf(server4, upstream, "/"), to: server4, want: "exit status 35"},
		{name: "plain http with a placeholder", url: "http://" + recorder{plain}.at(other), to: server4, want: `"reason":"placeholder"`},
		{name: "plain http", url: "http://" + recorder{plain}.at(other), to: server4, args: []string{"-H", "Authorization:"}, want: "HTTP/1.1 "},
		{name: "the proxy itself", url: "http://" + net.JoinHostPort(broker4, strconv.Itoa(proxyPort)), to: broker4, want: "exit status"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := []string{"--silent", "--max-time", "30", "--cacert", bundle, "--connect-to", "::" + tt.to + ":", "-H", "Authorization: Bearer " + placeholder}
			if len(tt.args) > 1 && tt.args[1] == "Authorization:" {
				args = args[:len(args)-2]
			}
			cmd := exec.CommandContext(t.Context(), "curl", append(append(args, tt.args...), tt.url)...)
			cmd.Env = []string{"HOME=" + t.TempDir()}
			var out []byte
			var err error
			sandbox.Do(func() { out, err = cmd.Output() })
			if got := fmt.Sprint(string(out), err); !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q; event %+v", got, tt.want, w.last())
			}
		})
	}
}

// What isn't TLS or HTTP is for the address that the client has connected to.
func TestTransparentOtherProtocols(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	sandbox, _ := redirect(t, w)
	for _, to := range []string{server4 + ":22", "[" + server6 + "]:22"} {
		var c net.Conn
		var err error
		sandbox.Do(func() { c, err = net.DialTimeout("tcp", to, generous) })
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(generous))
		_, _ = io.WriteString(c, "SSH-2.0-client\r\n")
		if line, err := bufio.NewReader(c).ReadString('\n'); err == nil {
			t.Errorf("got %q", line)
		}
		_ = c.Close()
		// Neither address is public.
		wanted, _, _ := net.SplitHostPort(to)
		poll.Until(t, generous, "an event", func() bool { return w.last().Host == wanted })
		if e := w.last(); e.Reason != "address" {
			t.Errorf("event %+v", e)
		}
	}
}
