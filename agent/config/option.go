package config

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/option"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// Option is one setting. It is added here and in Config; `go test ./agent/config -update` then documents it.
type Option = option.Option

// Options describes c's fields, except tables. Setting an option sets the field.
func (c *Config) Options() []Option {
	values := []string{"run", "agent"}
	return []Option{
		{Flag: "base-url", Variable: "MIOSA_BASE_URL", Field: "base_url", Value: setting.Text(&c.BaseURL), Default: "`https://api.miosa.ai/api/v1`", Argument: "URL",
			Help: "URL of the vault's API: https, or http to loopback. Without a path, `/api/v1` is appended. An agent that serves another vault is not used"},
		{Variable: "MIOSA_API_KEY", Value: setting.Text(&c.APIKey),
			Help: "the resource key. There is no flag, because any user can read a process's arguments"},
		{Variable: "MIOSA_TENANT_KEY", Value: setting.Text(&c.TenantKey), Default: "the resource key",
			Help: "the key for [managing secrets](#manage-secrets)"},
		{Flag: "key-file", Variable: "MIOSA_API_KEY_FILE", Field: "key_file", Value: setting.Path(&c.KeyFile), Default: "the systemd credential `miosa-api-key`", Argument: "FILE",
			Help: "file that contains the key; the flag and the field override `MIOSA_API_KEY`"},
		{Flag: "ca-file", Variable: "MIOSA_CA_FILE", Field: "ca_file", Value: setting.Path(&c.CAFile), Default: "the system's", Argument: "FILE",
			Help: "PEM file with the only certificate authorities to trust; also makes startup faster. With http, the file is checked but not used"},
		{Flag: "proxy", Variable: "MIOSA_PROXY", Field: "proxy", Value: setting.Text(&c.Proxy), Argument: "URL",
			Help: "proxy to connect through; `HTTPS_PROXY` and similar variables are ignored"},
		{Flag: "sandbox", Variable: "MIOSA_SANDBOX_ID", Field: "sandbox_id", Value: setting.Text(&c.Sandbox), Check: option.ResourceID, Argument: "ID",
			Help: "the sandbox whose secrets to use; set this or the computer"},
		{Flag: "computer", Variable: "MIOSA_COMPUTER_ID", Field: "computer_id", Value: setting.Text(&c.Computer), Check: option.ResourceID, Argument: "ID",
			Help: "the computer whose secrets to use"},
		{Flag: "cache", Variable: "MIOSA_CACHE", Field: "cache", Value: setting.Bool(&c.Cache), Default: "`false`", Commands: values,
			Help: "keep a sealed copy of the values on this machine, and start from it if the vault does not answer"},
		{Flag: "cache-dir", Variable: "MIOSA_CACHE_DIR", Field: "cache_dir", Value: setting.Path(&c.CacheDir), Argument: "DIR", Commands: values,
			Default: "systemd's `StateDirectory=`; `/var/lib/miosa-env` as root; else `miosa-env` below `XDG_STATE_HOME` or `~/.local/state`",
			Help:    "directory for the cache"},
		{Flag: "cache-max-age", Variable: "MIOSA_CACHE_MAX_AGE", Field: "cache_max_age", Value: setting.Duration(&c.CacheMaxAge), Default: "`24h`", Argument: "DURATION", Commands: values,
			Help: "maximum time since the vault last confirmed the cached set; 0 means the default"},
		{Flag: "on-revoke", Variable: "MIOSA_ON_REVOKE", Field: "on_revoke", Value: setting.Choice(&c.OnRevoke, []string{RevokeKeep, RevokeStop}),
			Default: "`keep`; for `run` with `--on-change`, with `--mask` or as process 1, the agent's setting", Argument: "WHAT", Commands: []string{"run"},
			Help: "what happens to commands when the key is revoked and its file contains no other key: `keep` them running, or `stop` them"},
		{Flag: "socket", Variable: "MIOSA_SOCKET", Field: "socket", Value: setting.Path(&c.Socket), Default: "for the agent, systemd's `RuntimeDirectory=`; `/run/miosa-env/agent.sock` as root; else below `XDG_RUNTIME_DIR`", Argument: "FILE",
			Help: "the agent's socket; a file that is not a socket is an error"},
		{Flag: "no-agent", Variable: "MIOSA_NO_AGENT", Value: setting.Bool(&c.NoAgent), Default: "`false`", Commands: []string{"run", "export", "get", "list", "doctor"},
			Help: "ask the vault even if an agent on this machine has the values"},
		{Flag: "egress", Variable: "MIOSA_EGRESS", Value: setting.Text(&c.Egress), Argument: "URL", Commands: []string{"run", "doctor", "status"},
			Help: "the egress broker for the requests of commands: `http://HOST:PORT`"},
		{Flag: "egress-ca", Variable: "MIOSA_EGRESS_CA", Value: setting.Path(&c.EgressCA), Default: "the one that the broker serves", Argument: "FILE", Commands: []string{"run", "doctor", "status"},
			Help: "PEM file with the broker's certificate authority"},
		{Field: "allow_users", Value: setting.List(&c.AllowUsers),
			Help: "names or ids of users who may use the socket, besides root and the agent's user"},
		{Field: "allow_groups", Value: setting.List(&c.AllowGroups), Help: "the same for groups"},
		{Field: "metrics_addr", Value: setting.Text(&c.MetricsAddr), Check: option.Loopback, Help: "`HOST:PORT` on loopback for [metrics](#metrics-and-log)"},
		{Flag: "timeout", Variable: "MIOSA_TIMEOUT", Value: setting.Duration(&c.Timeout), Default: "`10s`", Argument: "DURATION",
			Help: "time limit for a request, including all retries; 0 means the default"},
		{Flag: "log-level", Variable: "MIOSA_LOG_LEVEL", Field: "log_level", Value: setting.Choice(&c.LogLevel, []string{"trace", "debug", "info", "warn", "error", "off"}), Default: "`info`", Argument: "LEVEL",
			Help: "lowest level to log, on standard error: `trace`, `debug`, `info`, `warn`, `error` or `off`"},
		{Flag: "log-format", Variable: "MIOSA_LOG_FORMAT", Field: "log_format", Value: setting.Choice(&c.LogFormat, []string{"text", "json"}), Default: "`text`", Argument: "FORMAT",
			Help: "format of the log: `text` or `json`"},
		{Flag: "config", Variable: "MIOSA_CONFIG", Value: setting.Path(&c.Path), Default: "`" + DefaultPath + "`, which may be missing", Argument: "FILE", Commands: []string{"agent"},
			Help: "the agent's configuration"},
	}
}

func (o *Output) options() []Option {
	return []Option{
		{Field: "path", Value: setting.Path(&o.Path), Required: "a path", Unique: true, Help: "absolute path without symlinks"},
		{Field: "format", Value: setting.Text(&o.Format), Required: "a format", Help: "`systemd`, `shell`, `docker`, `dotenv`, `json` or `files`: see [Outputs](#outputs)"},
		{Field: "mode", Value: setting.Mode(&o.Mode), Default: "`0600`", Help: "file mode, in quotes; no permission for others"},
		{Field: "owner", Value: setting.Text(&o.Owner), Default: "the agent's user", Help: "name or id"},
		{Field: "group", Value: setting.Text(&o.Group), Default: "as the file system sets it", Help: "name or id"},
		{Field: "only", Value: setting.List(&o.Only), Default: "all", Help: "names or patterns of bindings to include, such as `\"DB_*\"`"},
		{Field: "prefix", Value: setting.Text(&o.Prefix), Help: "prepended to each name"},
		{Field: "require_only", Value: setting.List(&o.RequireOnly), Default: "all", Help: "names or patterns that bindings may set. If a binding has [another name](security.md#accept-only-the-names-you-expect), the output is not written"},
		{Field: "allow_names", Value: setting.List(&o.AllowNames), Help: "names that bindings may set although they [run code or redirect traffic](security.md#names-a-binding-may-not-set)"},
		{Field: "hook", Value: setting.Text(&o.Hook), Help: "command for `sh -c`, run after each change"},
		{Field: "hook_timeout", Value: setting.Duration(&o.HookTimeout), Default: "`30s`", Help: "time limit after which the hook and all its processes are killed"},
		{Field: "allow_disk", Value: setting.Bool(&o.AllowDisk), Default: "`false`", Help: "allow a file outside memory"},
		{Field: "allow_shared", Value: setting.Bool(&o.AllowShared), Default: "`false`", Help: "allow a directory that others can write to: they cannot read the values, but can replace the file"},
		{Field: "keep", Value: setting.Bool(&o.Keep), Default: "`false`", Help: "keep the file when the agent stops"},
	}
}

func (u *Unit) options() []Option {
	return []Option{
		{Field: "name", Value: setting.Text(&u.Name), Check: unitName, Required: "a name", Unique: true, Help: "such as `app.service`; `app@.service` means all of its instances"},
		{Field: "only", Value: setting.List(&u.Only), Check: pattern, Required: "only: the names of what it may have", Help: "names or patterns of the bindings the unit may load, such as `\"DB_*\"`"},
	}
}

// unitName accepts the name of a unit that can have credentials.
func unitName(name string) error {
	kind := path.Ext(name)
	if name == kind || strings.Contains(name, "/") || kind != ".service" && kind != ".socket" && kind != ".mount" && kind != ".swap" {
		return errors.New("want the name of a unit, such as app.service")
	}
	return nil
}

// pattern accepts a pattern of path.Match.
func pattern(p string) error {
	if _, err := path.Match(p, ""); err != nil {
		return fmt.Errorf("%s isn't a pattern: %w", strconv.Quote(api.RedactKeys(p)), err)
	}
	return nil
}
