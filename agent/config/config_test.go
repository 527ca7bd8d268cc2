package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/Miosa-osa/miosa-env/agent/config"
	"github.com/Miosa-osa/miosa-env/internal/option"
)

const wholeFile = `# every field there is
base_url = "https://vault.example/api/v1"
key_file = "/etc/miosa-env/key"
ca_file = "/etc/miosa-env/ca.pem"
proxy = "http://proxy.example:3128"
sandbox_id = "sb_1"
cache = true
cache_dir = "/var/lib/miosa-env"
cache_max_age = "12h"
on_revoke = "stop"
socket = "/run/miosa-env/agent.sock"
allow_users = ["app", "1000"]
allow_groups = []
metrics_addr = "127.0.0.1:9464"
log_level = "info"
log_format = 'json'

[[output]]
path = "/run/app/env"
format = "systemd"
mode = "0640"
owner = "app"
group = "app"
only = ["DB_*",
  "API_KEY", # a comment
]
prefix = "APP_"
require_only = ["APP_*", "HTTPS_PROXY"]
allow_names = ["HTTPS_PROXY"]
hook = "systemctl try-reload-or-restart app"
hook_timeout = "1m30s"
allow_disk = true
allow_shared = true
keep = true

[[output]]
path = "/run/other/env"
format = "json"
`

func TestParse(t *testing.T) {
	whole := config.Config{
		BaseURL: "https://vault.example/api/v1", KeyFile: "/etc/miosa-env/key", CAFile: "/etc/miosa-env/ca.pem",
		Proxy: "http://proxy.example:3128", Sandbox: "sb_1",
		Cache: true, CacheDir: "/var/lib/miosa-env", CacheMaxAge: 12 * time.Hour, OnRevoke: config.RevokeStop,
		Socket: "/run/miosa-env/agent.sock", AllowUsers: []string{"app", "1000"}, AllowGroups: []string{},
		MetricsAddr: "127.0.0.1:9464", LogLevel: "info", LogFormat: "json",
		Outputs: []config.Output{
			{
				Path: "/run/app/env", Format: "systemd", Mode: 0o640, Owner: "app", Group: "app",
				Only: []string{"DB_*", "API_KEY"}, Prefix: "APP_", RequireOnly: []string{"APP_*", "HTTPS_PROXY"}, AllowNames: []string{"HTTPS_PROXY"},
				Hook: "systemctl try-reload-or-restart app", HookTimeout: 90 * time.Second, AllowDisk: true, AllowShared: true, Keep: true,
			},
			{Path: "/run/other/env", Format: "json"},
		},
	}
	for _, test := range []struct {
		name string
		text string
		want config.Config
	}{
		{"nothing", "", config.Config{}},
		{"comments", "# a\n\n  # b", config.Config{}},
		{"everything", wholeFile, whole},
		{"everything, lines ended as on Windows, a byte order mark", "\xef\xbb\xbf" + strings.ReplaceAll(wholeFile, "\n", "\r\n"), whole},
		{"quoted field", `"base_url" = "x"`, config.Config{BaseURL: "x"}},
		{"escapes", `base_url = "\u0078\ty"`, config.Config{BaseURL: "x\ty"}},
		{"text of several lines", "[[output]]\npath='/a'\nformat='f'\nhook = '''\na\nb'''", config.Config{
			Outputs: []config.Output{{Path: "/a", Format: "f", Hook: "a\nb"}},
		}},
		{"words in any case, white space around texts and entries", "log_level = \" WARN\"\non_revoke = \"Stop\"\nsandbox_id = \"sb_1\\n\"\nallow_users = [\" a\", \"b \"]\ncache_max_age = \" 1h \"", config.Config{
			LogLevel: "warn", OnRevoke: "stop", Sandbox: "sb_1", AllowUsers: []string{"a", "b"}, CacheMaxAge: time.Hour,
		}},
		{"metrics on localhost", `metrics_addr = "localhost:0"`, config.Config{MetricsAddr: "localhost:0"}},
		{"metrics on IPv6", `metrics_addr = "[::1]:9464"`, config.Config{MetricsAddr: "[::1]:9464"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got config.Config
			if err := got.Parse("agent.toml", []byte(test.text)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, test.want, cmpopts.IgnoreUnexported(config.Config{}, config.Output{}, config.Unit{})); diff != "" {
				t.Errorf("settings (-got +want):\n%s", diff)
			}
		})
	}
}

func TestParse_Problems(t *testing.T) {
	for _, test := range []struct {
		name string
		text string
		want []string // lines of the error
		hint string   // of the first error
	}{
		{"unknown field", "\nbase_ul = \"x\"", []string{`agent.toml line 2: unknown field "base_ul"`}, "did you mean base_url? the fields are base_url, key_file, ca_file, proxy, sandbox_id, computer_id, cache, cache_dir, cache_max_age, on_revoke, socket, allow_users, allow_groups, metrics_addr, log_level, log_format"},
		{"unknown field of an output", "[[output]]\npath='/a'\nformat='f'\nmod = \"0600\"", []string{`agent.toml line 4: unknown field "mod"`}, "did you mean mode? the fields are path, format, mode, owner, group, only, prefix, require_only, allow_names, hook, hook_timeout, allow_disk, allow_shared, keep"},
		{"dotted field", "cache.dir = \"/x\"", []string{`agent.toml line 1: unknown field "cache.dir"`}, ""},
		{"a general field below an output", "[[output]]\npath='/a'\nformat='f'\nlog_level = \"info\"", []string{`agent.toml line 4: unknown field "log_level"`}, "it isn't an output's: move it above the first [[output]]"},
		{"an output's field on top", "path = \"/a\"", []string{`agent.toml line 1: unknown field "path"`}, "it is an output's: write [[output]] above it"},
		{"a key", "api_key = \"msk_r_abcdefghijklmnop\"", []string{`agent.toml line 1: unknown field "api_key"`}, "the key has a file of its own: name that with key_file"},
		{"a key as a field", "msk_r_abcdefghijklmnop = 1", []string{`agent.toml line 1: unknown field "msk_[redacted]"`}, ""},
		{"unknown table", "[outputs]\npath = 1\nx = 2", []string{`agent.toml line 1: unknown table "outputs"`}, "did you mean [[output]]? the tables are [[output]] and [[unit]]"},
		{"table below an output", "[[output]]\npath='/a'\nformat='f'\n[output.hook]\ncommand = 'x'", []string{`agent.toml line 4: unknown table "output.hook"`}, ""},
		{"output as a single table", "[output]\npath='/a'", []string{`agent.toml line 1: [output] is written [[output]]: there can be several`}, ""},
		{"output as a list", "output = [{path='/a'}]", []string{`agent.toml line 1: unknown field "output"`}, "write each output as a table that begins with [[output]]"},
		{"text for a switch", "cache = \"yes\"", []string{"agent.toml line 1: cache: want true or false, not text"}, ""},
		{"a number for text", "socket = 7", []string{"agent.toml line 1: socket: want text in quotes, not a number"}, ""},
		{"text for a list", "allow_users = \"app\"", []string{`agent.toml line 1: allow_users: want a list of texts, such as ["a", "b"], not text`}, ""},
		{"a number in a list", "allow_users = [\"app\",\n 1000]", []string{`agent.toml line 1: allow_users: want a list of texts, such as ["a", "b"], not a number`}, ""},
		{"an empty entry", "allow_users = [\"\"]", []string{"agent.toml line 1: allow_users: entry 1 is empty: take it out"}, ""},
		{"an entry of white space", "allow_users = [\"a\", \" \"]", []string{"agent.toml line 1: allow_users: entry 2 is empty: take it out"}, ""},
		{"a number for a time", "cache_max_age = 24", []string{`agent.toml line 1: cache_max_age: want a length of time in quotes, such as "30s" or "24h", not a number`}, ""},
		{"no time", "cache_max_age = \"a day\"", []string{`agent.toml line 1: cache_max_age: want a length of time in quotes, such as "30s" or "24h"`}, ""},
		{"no time at all", "cache_max_age = \"0s\"", []string{`agent.toml line 1: cache_max_age: want a length of time in quotes, such as "30s" or "24h"`}, ""},
		{"a number for permissions", "[[output]]\npath='/a'\nformat='f'\nmode = 0o600", []string{`agent.toml line 4: mode: want permissions in quotes, such as "0600", not a number`}, ""},
		{"no permissions", "[[output]]\npath='/a'\nformat='f'\nmode = \"rw\"", []string{`agent.toml line 4: mode: want permissions in quotes, such as "0600"`}, ""},
		{"empty text", "proxy = \"\"", []string{"agent.toml line 1: proxy: it is empty: leave it out instead"}, ""},
		{"NUL", `proxy = "a\u0000b"`, []string{"agent.toml line 1: proxy: it holds a NUL character"}, ""},
		{"relative path", "key_file = \"key\"", []string{"agent.toml line 1: key_file: want an absolute path"}, ""},
		{"winding path", "key_file = \"/etc/../key\"", []string{`agent.toml line 1: key_file: want "/key"`}, ""},
		{"other word", "on_revoke = \"kill\"", []string{"agent.toml line 1: on_revoke: want one of keep, stop"}, ""},
		{"nearly a word", "log_level = \"inof\"", []string{"agent.toml line 1: log_level: want one of trace, debug, info, warn, error, off: did you mean info?"}, ""},
		{"no id", "sandbox_id = \"a b\"", []string{"agent.toml line 1: sandbox_id: want 1 to 128 letters, digits or any of . _ : @ -, the first a letter or digit"}, ""},
		{"metrics for everyone", "metrics_addr = \"0.0.0.0:9464\"", []string{"agent.toml line 1: metrics_addr: want an address that only this machine can reach, such as 127.0.0.1:9464"}, ""},
		{"metrics without a port", "metrics_addr = \"127.0.0.1\"", []string{"agent.toml line 1: metrics_addr: want HOST:PORT, such as 127.0.0.1:9464"}, ""},
		{"two resources", "computer_id = \"c\"\nsandbox_id = \"s\"", []string{"agent.toml line 2: sandbox_id and computer_id are both given"}, "leave one out"},
		{"twice", "proxy = \"a\"\n\nproxy = \"b\"", []string{"agent.toml line 3: proxy is given twice: first on line 1"}, ""},
		{"an output of nothing", "\n[[output]]", []string{"agent.toml line 2: an [[output]] needs a path", "agent.toml line 2: an [[output]] needs a format"}, ""},
		{"a unit of nothing", "[[unit]]", []string{"agent.toml line 1: a [[unit]] needs a name", "agent.toml line 1: a [[unit]] needs only: the names of what it may have"}, ""},
		{"a unit twice", "[[unit]]\nname = 'a.service'\nonly = ['A']\n[[unit]]\nname = 'a.service'\nonly = ['B']", []string{"agent.toml line 5: name: another unit has it, on line 2"}, ""},
		{"not a unit", "[[unit]]\nname = 'app'\nonly = ['A']", []string{"agent.toml line 2: name: want the name of a unit, such as app.service"}, ""},
		{"a broken pattern", "[[unit]]\nname = 'a.service'\nonly = ['A', '[']", []string{`agent.toml line 3: only: "[" isn't a pattern: syntax error in pattern`}, ""},
		{"a unit as a single table", "[unit]\nname = 'a.service'", []string{"agent.toml line 1: [unit] is written [[unit]]: there can be several"}, ""},
		{"a general field below a unit", "[[unit]]\nname = 'a.service'\nonly = ['A']\ncache = true", []string{`agent.toml line 4: unknown field "cache"`}, "it isn't a unit's: move it above the first [[unit]]"},
		{"two outputs in one place", "[[output]]\npath='/a'\nformat='f'\n[[output]]\nformat='f'\npath='/a'", []string{"agent.toml line 6: path: another output has it, on line 2"}, ""},
		{"not TOML", "cache = true\nproxy = \"a", []string{"agent.toml line 2: not TOML: unterminated basic string"}, ""},
		{"text without quotes", "[[output]]\npath = '/a'\nformat = env", []string{"agent.toml line 3: not TOML: unexpected character U+0065 'e' at start of value"}, `put text in quotes: "..."`},
		{"not TOML and more", "x = 1\ny = 2\n= 3\nz = 4", []string{
			`agent.toml line 1: unknown field "x"`, `agent.toml line 2: unknown field "y"`,
			"agent.toml line 3: not TOML: invalid character at start of key: U+003D '='",
		}, ""},
		{"everything at once", "cache = 1\n[[output]]\nmode = 1\nhook_timeout = 2\n[[output]]\npath = \"a\"", []string{
			"agent.toml line 1: cache: want true or false, not a number",
			"agent.toml line 2: an [[output]] needs a path", "agent.toml line 2: an [[output]] needs a format",
			`agent.toml line 3: mode: want permissions in quotes, such as "0600", not a number`,
			`agent.toml line 4: hook_timeout: want a length of time in quotes, such as "30s" or "24h", not a number`,
			"agent.toml line 5: an [[output]] needs a format",
			"agent.toml line 6: path: want an absolute path",
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := new(config.Config).Parse("agent.toml", []byte(test.text))
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(strings.Split(err.Error(), "\n"), test.want); diff != "" {
				t.Errorf("error (-got +want):\n%s", diff)
			}
			first, ok := errors.AsType[*option.Error](err)
			if !ok {
				t.Fatalf("a %T", err)
			}
			if test.hint != "" && first.Hint() != test.hint {
				t.Errorf("hint %q, want %q", first.Hint(), test.hint)
			}
		})
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.toml")
	if err := new(config.Config).Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, []byte(wholeFile), 0o600); err != nil {
		t.Fatal(err)
	}
	var s config.Config
	if err := s.Read(path); err != nil {
		t.Fatal(err)
	}
	bad := errors.New("bad")
	for _, test := range []struct {
		name string
		got  error
		want string
	}{
		{"a field", s.Problem("proxy", bad), path + " line 5: bad"},
		{"a field left out", s.Problem("computer_id", bad), "bad"},
		{"an output's field", s.Outputs[0].Problem("mode", bad), path + " line 21: bad"},
		{"an output's field left out", s.Outputs[1].Problem("mode", bad), path + " line 36: bad"},
	} {
		if test.got.Error() != test.want {
			t.Errorf("%s: %q, want %q", test.name, test.got, test.want)
		}
	}
	if err := os.Truncate(path, 2<<20); err != nil {
		t.Fatal(err)
	}
	if err := new(config.Config).Read(path); err == nil || !strings.HasSuffix(err.Error(), ": longer than 1 MiB") {
		t.Errorf("a file of 2 MiB: %v", err)
	}
}

// For any text, Parse does not panic, each problem names the file, and an additional unknown field at the top is
// reported with its line.
func FuzzParse(f *testing.F) {
	f.Add([]byte(wholeFile))
	for _, text := range []string{
		"", "[[output]]\npath='/a'", "[[output]", "a.b.c = {x = [1, {y = 2}]}", "mode = 1979-05-27T07:32:00Z", "\xff = 1",
		"a = \"\"\"\n\\\n\"\"\"", "[[a.b]]\n[c]\n", "proxy = [", "\"\" = 1", "cache = true cache = true",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		err := new(config.Config).Parse("agent.toml", text)
		for problem := range strings.Lines(errorText(err)) {
			if !strings.HasPrefix(problem, "agent.toml") {
				t.Fatalf("%q does not name the file", problem)
			}
		}
		err = new(config.Config).Parse("agent.toml", append([]byte("nonsense = 1\n"), text...))
		if want := `agent.toml line 1: unknown field "nonsense"`; !strings.Contains(errorText(err), want) {
			t.Fatalf("%v, want %s", err, want)
		}
	})
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
