package config

import (
	"errors"
	"math"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/option"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// Options describes c's fields, except listeners. Setting an option sets the field. `go test ./egress/config -update` then
// documents it.
func (c *Config) Options() []option.Option {
	serve := []string{"serve", "check"}
	return []option.Option{
		{Flag: "base-url", Variable: "MIOSA_BASE_URL", Field: "base_url", Value: setting.Text(&c.BaseURL), Default: "`https://api.miosa.ai/api/v1`", Argument: "URL", Commands: serve,
			Help: "URL of the vault's API: https, or http to loopback. Without a path, `/api/v1` is appended"},
		{Flag: "key-file", Variable: "MIOSA_BROKER_KEY_FILE", Field: "key_file", Value: setting.Path(&c.KeyFile), Default: "the systemd credential `miosa-broker-key`", Argument: "FILE", Commands: serve,
			Help: "file that contains the broker key. There is no variable for the key itself"},
		{Flag: "ca-file", Variable: "MIOSA_CA_FILE", Field: "ca_file", Value: setting.Path(&c.CAFile), Default: "the system's", Argument: "FILE", Commands: serve,
			Help: "PEM file with the only certificate authorities to trust for the vault"},
		{Flag: "proxy", Variable: "MIOSA_PROXY", Field: "proxy", Value: setting.Text(&c.Proxy), Argument: "URL", Commands: serve,
			Help: "proxy to reach the vault through; `HTTPS_PROXY` and similar variables are ignored"},
		{Flag: "cache", Variable: "MIOSA_CACHE", Field: "cache", Value: setting.Bool(&c.Cache), Default: "`false`", Commands: serve,
			Help: "keep a sealed copy of each resource's values on this machine, and start from it if the vault does not answer"},
		{Flag: "cache-dir", Variable: "MIOSA_CACHE_DIR", Field: "cache_dir", Value: setting.Path(&c.CacheDir), Argument: "DIR", Commands: serve,
			Default: "systemd's `StateDirectory=`; else `/var/lib/miosa-egress`", Help: "directory for the cache; not the one with the key"},
		{Flag: "cache-max-age", Variable: "MIOSA_CACHE_MAX_AGE", Field: "cache_max_age", Value: setting.Duration(&c.CacheMaxAge), Default: "`24h`", Argument: "DURATION", Commands: serve,
			Help: "maximum time since the vault last confirmed the cached set; 0 means the default"},
		{Flag: "socket", Variable: "MIOSA_EGRESS_SOCKET", Field: "socket", Value: setting.Path(&c.Socket), Default: "`/run/miosa-egress/egress.sock` as root, else below `XDG_RUNTIME_DIR`", Argument: "FILE",
			Help: "socket of `status` and `ca`; only root and the broker's user can use it"},
		{Field: "metrics_addr", Value: setting.Text(&c.MetricsAddr), Check: option.Loopback, Help: "`HOST:PORT` on loopback for [metrics](#metrics)"},
		{Flag: "log-level", Variable: "MIOSA_LOG_LEVEL", Field: "log_level", Value: setting.Choice(&c.LogLevel, []string{"trace", "debug", "info", "warn", "error", "off"}), Default: "`info`", Argument: "LEVEL", Commands: serve,
			Help: "lowest level to log, on standard error: `trace`, `debug`, `info`, `warn`, `error` or `off`"},
		{Flag: "log-format", Variable: "MIOSA_LOG_FORMAT", Field: "log_format", Value: setting.Choice(&c.LogFormat, []string{"text", "json"}), Default: "`text`", Argument: "FORMAT", Commands: serve,
			Help: "format of the log: `text` or `json`"},
		{Flag: "config", Variable: "MIOSA_EGRESS_CONFIG", Value: setting.Path(&c.Path), Default: "`" + DefaultPath + "`", Argument: "FILE", Commands: serve,
			Help: "the configuration"},
	}
}

func (l *Listener) options() []option.Option {
	return []option.Option{
		{Field: "address", Value: setting.Text(&l.Address), Check: checkAddress, Required: "an address", Unique: true,
			Help: "where it listens: `HOST:PORT`, `unix:/PATH` (a socket for root and the broker's user), or `vsock:CID:PORT` (Linux; a CID of -1 is any)"},
		{Field: "sandbox_id", Value: setting.Text(&l.Sandbox), Check: option.ResourceID, Help: "the sandbox whose traffic arrives there; set this or `computer_id`"},
		{Field: "computer_id", Value: setting.Text(&l.Computer), Check: option.ResourceID, Help: "the computer whose traffic arrives there"},
		{Field: "mode", Value: setting.Choice(&l.Mode, []string{ModeProxy, ModeTransparent}), Default: "`proxy`",
			Help: "`proxy`: clients use an HTTP proxy. `transparent`: the kernel redirects their connections"},
		{Field: "ca_file", Value: setting.Path(&l.CAFile), Help: "file to write the resource's CA certificate to, as PEM, for its clients; replaced at each start"},
		{Field: "ca_key_file", Value: setting.Path(&l.CAKeyFile), Default: "none: each start creates a new CA, with a key only in memory",
			Help: "file that keeps the resource's CA and its key, so that clients still trust the broker after a restart; created with mode 0600"},
		{Field: "ca_hosts", Value: setting.List(&l.Hosts), Check: checkCAHost, Default: "any", Help: "the only hosts that the resource's CA may certify (name constraints), such as `\"*.example.com\"`; requests with values to other hosts are refused"},
		{Field: "upstream_ca_file", Value: setting.Path(&l.Upstream), Default: "the system's", Help: "PEM file with the only certificate authorities to trust for servers"},
		{Field: "max_connections", Value: setting.Text(&l.Connections), Check: checkConnections, Default: "`\"1024\"`", Help: "maximum number of open connections of the resource's clients, in quotes. At most 512 more than that may be open to servers, and four times as many requests may run at the same time. Each connection takes a file descriptor"},
	}
}

// NetworkOf returns the network of an address of a listener: "unix", "vsock" or "tcp".
func NetworkOf(address string) string {
	for _, network := range []string{"unix", "vsock"} {
		if strings.HasPrefix(address, network+":") {
			return network
		}
	}
	return "tcp"
}

// checkAddress accepts the address of a listener.
func checkAddress(text string) error {
	switch NetworkOf(text) {
	case "unix":
		if path := strings.TrimPrefix(text, "unix:"); !filepath.IsAbs(path) || filepath.Clean(path) != path {
			return errors.New("want unix: and an absolute path, such as unix:/run/miosa-egress/sb_1.sock")
		}
		return nil
	case "vsock":
		_, _, err := ParseVsock(text)
		return err
	}
	host, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || host == "" {
		return errors.New("want HOST:PORT such as 127.0.0.1:3128, unix:/PATH or vsock:CID:PORT; for all addresses, 0.0.0.0 or [::]")
	}
	return nil
}

// ParseVsock parses vsock:CID:PORT. A CID of -1 is any.
func ParseVsock(text string) (cid, port uint32, err error) {
	id, rest, ok := strings.Cut(strings.TrimPrefix(text, "vsock:"), ":")
	n, err := strconv.ParseInt(id, 10, 64)
	p, portErr := strconv.ParseUint(rest, 10, 32)
	if !ok || err != nil || portErr != nil || n < -1 || n > math.MaxUint32 {
		return 0, 0, errors.New("want vsock:CID:PORT, such as vsock:2:3128, or vsock:-1:3128 for any CID")
	}
	return uint32(n), uint32(p), nil
}

// checkCAHost accepts a host as egress rules have it.
func checkCAHost(host string) error {
	if (api.EgressRule{Hosts: []string{host}}).Validate() != nil {
		return errors.New("want names of hosts in lower case such as api.example.com or *.example.com, or IP addresses, without a port")
	}
	return nil
}

// checkConnections accepts a number of connections.
func checkConnections(text string) error {
	if n, err := strconv.Atoi(text); err != nil || n < 1 || n > 1_000_000 {
		return errors.New("want a number from 1 to 1000000")
	}
	return nil
}
