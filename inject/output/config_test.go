package output_test

import (
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/inject/output"
)

func TestOutputConfigValidate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*output.Config)
		want   string
	}{
		{"only what is required", func(*output.Config) {}, ""},
		{"everything", func(c *output.Config) {
			*c = output.Config{Path: "/run/app/env", Format: "files", Mode: 0o640, Owner: "0", Group: "root", Only: []string{"DB_*", "X"}, Prefix: "APP_",
				AllowNames: []string{"PATH"}, AllowDisk: true, Keep: true, Hook: "true", HookTimeout: time.Second}
		}, ""},
		{"no path", func(c *output.Config) { c.Path = "" }, "path is missing"},
		{"a relative path", func(c *output.Config) { c.Path = "app.env" }, "path app.env: want an absolute one"},
		{"a path that isn't clean", func(c *output.Config) { c.Path = "/run/../run/app.env/" }, "path /run/../run/app.env/: want /run/app.env"},
		{"the root", func(c *output.Config) { c.Path = "/" }, "path /: not a file's"},
		{"a NUL", func(c *output.Config) { c.Path = "/run/a\x00b" }, `path "/run/a\x00b": not a file's`},
		{"the longest name", func(c *output.Config) { c.Path = "/run/" + strings.Repeat("x", 239) }, ""},
		{"a longer name", func(c *output.Config) { c.Path = "/" + strings.Repeat("x", 240) }, "path /" + strings.Repeat("x", 79) + "...: its last part is longer than 239 bytes"},
		{"no format", func(c *output.Config) { c.Format = "" }, `format "": want one of shell, dotenv, json, systemd, docker, files`},
		{"for everybody", func(c *output.Config) { c.Mode = 0o644 }, "mode 0644 lets everyone on this machine have the values: want an owner or a group instead"},
		{"a program", func(c *output.Config) { c.Mode = 0o700 }, "mode 0700: the file isn't a program"},
		{"set-uid", func(c *output.Config) { c.Mode = 0o4600 }, "mode 04600: want permissions only"},
		{"a directory's mode", func(c *output.Config) { c.Mode = fs.ModeDir | 0o600 }, "mode 020000000600: want permissions only"},
		{"unreadable", func(c *output.Config) { c.Mode = 0o040 }, "mode 040: its owner couldn't read it"},
		{"unknown names", func(c *output.Config) { c.Owner, c.Group = "no-such-user", "no-such-group" }, "owner no-such-user: there is no such user\ngroup no-such-group: there is no such group"},
		{"numbers that no id can have", func(c *output.Config) { c.Owner, c.Group = "4294967295", "99999999999" }, "owner 4294967295: not a number that an id can have\ngroup 99999999999: not a number that an id can have"},
		{"a broken pattern", func(c *output.Config) { c.Only = []string{"A", "["} }, "only [: not a pattern"},
		{"a prefix", func(c *output.Config) { c.Prefix = "9-" }, "prefix 9-: want letters, digits and _, no digit first"},
		{"an allowed name", func(c *output.Config) { c.AllowNames = []string{"LD_*"} }, "allow_names LD_*: want letters, digits and _, no digit first"},
		{"a negative timeout", func(c *output.Config) { c.Hook, c.HookTimeout = "true", -1 }, "hook_timeout -1ns: want more than nothing"},
		{"a timeout without a hook", func(c *output.Config) { c.HookTimeout = time.Second }, "hook_timeout 1s: there is no hook"},
		{"all at once", func(c *output.Config) { *c = output.Config{Mode: 0o666, Prefix: "-"} },
			"path is missing\nformat \"\": want one of shell, dotenv, json, systemd, docker, files\nmode 0666 lets everyone on this machine have the values: want an owner or a group instead\nprefix -: want letters, digits and _, no digit first"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := output.Config{Path: "/run/app.env", Format: "systemd"}
			tt.change(&c)
			got := ""
			if err := c.Validate(); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
		})
	}
}
