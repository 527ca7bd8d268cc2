package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/Miosa-osa/miosa-env/egress/config"
)

const wholeFile = `base_url = "https://vault.example/api/v1"
key_file = "/etc/miosa-egress/key"
ca_file = "/etc/miosa-egress/vault.pem"
proxy = "http://proxy.example:3128"
cache = true
cache_dir = "/var/lib/miosa-egress"
cache_max_age = "12h"
socket = "/run/miosa-egress/egress.sock"
metrics_addr = "127.0.0.1:9465"
log_level = "info"
log_format = "json"

[[listener]]
address = "10.0.0.1:3128"
sandbox_id = "sb_1"
mode = "proxy"
ca_file = "/run/miosa-egress/sb_1.pem"
ca_key_file = "/var/lib/miosa-egress-ca/sb_1"
ca_hosts = ["*.example.com", "api.github.com"]
upstream_ca_file = "/etc/miosa-egress/upstream.pem"
max_connections = "100"

[[listener]]
address = "10.0.0.1:3129"
sandbox_id = "sb_1"
mode = "transparent"

[[listener]]
address = "vsock:3:3128"
computer_id = "c_1"
`

func TestParse(t *testing.T) {
	want := config.Config{
		BaseURL: "https://vault.example/api/v1", KeyFile: "/etc/miosa-egress/key", CAFile: "/etc/miosa-egress/vault.pem", Proxy: "http://proxy.example:3128",
		Cache: true, CacheDir: "/var/lib/miosa-egress", CacheMaxAge: 12 * time.Hour, Socket: "/run/miosa-egress/egress.sock", MetricsAddr: "127.0.0.1:9465",
		LogLevel: "info", LogFormat: "json",
		Listeners: []config.Listener{
			{
				Address: "10.0.0.1:3128", Sandbox: "sb_1", Mode: "proxy", CAFile: "/run/miosa-egress/sb_1.pem", CAKeyFile: "/var/lib/miosa-egress-ca/sb_1",
				Hosts: []string{"*.example.com", "api.github.com"}, Upstream: "/etc/miosa-egress/upstream.pem", Connections: "100",
			},
			{Address: "10.0.0.1:3129", Sandbox: "sb_1", Mode: "transparent"},
			{Address: "vsock:3:3128", Computer: "c_1"},
		},
	}
	var got config.Config
	if err := got.Parse("egress.toml", []byte(wholeFile)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, want, cmpopts.IgnoreUnexported(config.Config{}, config.Listener{})); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if got.Listeners[0].MaxConnections() != 100 || got.Listeners[1].MaxConnections() != 0 || got.Listeners[2].Resource().String() != "computer:c_1" {
		t.Errorf("%+v", got.Listeners)
	}
}

// All problems of a file are reported at once, with their lines.
func TestParse_Problems(t *testing.T) {
	const listener = "[[listener]]\naddress = '127.0.0.1:3128'\nsandbox_id = 'a'\n"
	for _, test := range []struct{ name, text, want string }{
		{"several", "kye_file = '/k'\ncache = 1\n" + listener + "mode = 'x'", `egress.toml line 1: unknown field "kye_file"` + "\n" +
			"egress.toml line 2: cache: want true or false, not a number\negress.toml line 6: mode: want one of proxy, transparent"},
		{"a key", "api_key = 'msk_b_abcdefghijklmnop'", `egress.toml line 1: unknown field "api_key"`},
		{"unknown table", "[[listeners]]", `egress.toml line 1: unknown table "listeners"`},
		{"no address", "[[listener]]\nsandbox_id = 'a'", "egress.toml line 1: a [[listener]] needs an address"},
		{"no resource", "[[listener]]\naddress = '127.0.0.1:1'", "egress.toml line 1: a [[listener]] needs a resource"},
		{"an id with its type", "[[listener]]\naddress = '127.0.0.1:1'\nsandbox_id = 'sandbox:sb_1'\n[[listener]]\naddress = '127.0.0.1:2'\ncomputer_id = 'sandbox:sb_1'\n" +
			"[[listener]]\naddress = '127.0.0.1:3'\nsandbox_id = 'computer:'\n[[listener]]\naddress = '127.0.0.1:4'\nsandbox_id = 'a:sandbox:b'\n",
			"egress.toml line 3: sandbox_id: want the id without \"sandbox:\"\negress.toml line 6: computer_id: want the id without \"sandbox:\"\n" +
				"egress.toml line 9: sandbox_id: want the id without \"computer:\""},
		{"text without quotes", "[[listener]]\naddress = '127.0.0.1:1'\nsandbox_id = sb_1", "egress.toml line 3: not TOML: unexpected character U+0073 's' at start of value"},
		{"text without quotes in the first field", "[[listener]]\naddress = x", "egress.toml line 2: not TOML: unexpected character U+0078 'x' at start of value"},
		{"two resources", listener + "computer_id = 'b'", "egress.toml line 4: sandbox_id and computer_id are both given"},
		{"an address twice", listener + listener, "egress.toml line 5: address: another listener has it, on line 2"},
		{"no port", "[[listener]]\nsandbox_id = 'a'\naddress = '127.0.0.1'", "egress.toml line 3: address: want HOST:PORT such as 127.0.0.1:3128, unix:/PATH or vsock:CID:PORT; for all addresses, 0.0.0.0 or [::]"},
		{"a relative socket", "[[listener]]\nsandbox_id = 'a'\naddress = 'unix:x'", "egress.toml line 3: address: want unix: and an absolute path, such as unix:/run/miosa-egress/sb_1.sock"},
		{"no vsock", "[[listener]]\nsandbox_id = 'a'\naddress = 'vsock:x:1'", "egress.toml line 3: address: want vsock:CID:PORT, such as vsock:2:3128, or vsock:-1:3128 for any CID"},
		{"a redirected socket", "[[listener]]\nsandbox_id = 'a'\naddress = 'unix:/x'\nmode = 'transparent'", "egress.toml line 4: mode: only TCP connections can be redirected"},
		{"a host with a port", listener + "ca_hosts = ['a.example:443']", "egress.toml line 4: ca_hosts: want names of hosts in lower case such as api.example.com or *.example.com, or IP addresses, without a port"},
		{"no connections", listener + "max_connections = '0'", "egress.toml line 4: max_connections: want a number from 1 to 1000000"},
		{"another CA for the same resource", listener + "[[listener]]\naddress = '127.0.0.1:3129'\nsandbox_id = 'a'\nca_key_file = '/k'",
			"egress.toml line 7: ca_key_file: it belongs to the first [[listener]] of the resource, on line 1"},
		{"metrics for everyone", "metrics_addr = '0.0.0.0:1'", "egress.toml line 1: metrics_addr: want an address that only this machine can reach, such as 127.0.0.1:9464"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := new(config.Config).Parse("egress.toml", []byte(test.text))
			if err == nil || err.Error() != test.want {
				t.Errorf("got:\n%v\nwant:\n%s", err, test.want)
			}
		})
	}
}

// For any text, Parse does not panic, and each problem names the file.
func FuzzParse(f *testing.F) {
	for _, text := range []string{wholeFile, "", "[[listener]]\naddress='vsock:'", "[listener]", "[[listener]]\n[[listener]]\nca_hosts=[1]"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := new(config.Config).Parse("egress.toml", text); err != nil {
			for problem := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(problem, "egress.toml") {
					t.Fatalf("%q does not name the file", problem)
				}
			}
		}
	})
}
