package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// formats are nfpm's names of package formats.
var formats = []string{"deb", "rpm", "apk"}

// pkg is one package of a program.
type pkg struct {
	name, about string
	files       []entry
	scripts     string      // folder of its maintainer scripts in packaging; empty: none
	overrides   [][2]string // lintian's tags, and why they do not apply
}

// entry is a file of a package other than its program, manual pages and completions.
type entry struct {
	from, to string
	mode     os.FileMode
	config   bool   // upgrades keep changes
	formats  string // of the packages that have it; empty: all
}

const maintainer = "MIOSA <noreply@miosa.ai>"

// revision is the package's revision, the same for each version of the program.
const revision = "1"

const withSystemd = "deb rpm" // Alpine has none

// Tags of lintian for every program.
var (
	static = [2]string{"statically-linked-binary", "A program in Go is one file that depends on nothing."}
	closes = [2]string{"initial-upload-closes-no-bugs", "The package isn't in Debian's archive, and nobody has asked for it there."}
)

// packages are all packages. A file in from that doesn't exist is an error.
var packages = []pkg{
	{
		name: "miosa-env", scripts: "miosa-env",
		files: []entry{
			{from: "systemd/miosa-env.service", to: "/usr/lib/systemd/system/miosa-env.service", mode: 0o644, formats: withSystemd},
			{from: "systemd/miosa-env.target", to: "/usr/lib/systemd/system/miosa-env.target", mode: 0o644, formats: withSystemd},
			{from: "systemd/miosa-env.sysusers.conf", to: "/usr/lib/sysusers.d/miosa-env.conf", mode: 0o644, formats: withSystemd},
			{from: "systemd/miosa-env.tmpfiles.conf", to: "/usr/lib/tmpfiles.d/miosa-env.conf", mode: 0o644, formats: withSystemd},
			{from: "systemd/agent.toml", to: "/etc/miosa-env/agent.toml", mode: 0o644, config: true},
		},
		about: "Starts a command with the secrets bound to its sandbox or computer in its\nenvironment, and keeps them current while it runs.",
		overrides: [][2]string{
			static, closes,
			{"systemd-service-file-refers-to-unusual-wantedby-target", "The target is the package's own: a boot doesn't wait for a slow vault."},
			{"maintainer-script-calls-systemctl", "deb-systemd-invoke waits until a service is ready, which takes a vault, and starts one that was stopped."},
		},
	},
	{
		name:      "miosa-vault",
		about:     "Keeps secrets, encrypted at rest, and serves them to the sandboxes and\ncomputers they are bound to.",
		overrides: [][2]string{static, closes},
	},
}

// pack makes one package.
func (r *release) pack(ctx context.Context, p platform, of pkg, format, stage string) error {
	contents, err := r.contents(p, of, format, stage)
	if err != nil {
		return err
	}
	c := map[string]any{
		"name": of.name, "arch": p.machine, "platform": "linux",
		"version_schema": "none", "version": r.number.base, "prerelease": r.number.early, "version_metadata": r.number.later,
		"release": revision, "section": "admin", "priority": "optional",
		"maintainer":  maintainer,
		"vendor":      "MIOSA",
		"homepage":    "https://github.com/Miosa-osa/miosa-env",
		"description": about[of.name] + "\n" + of.about,
		"mtime":       r.time.Format("2006-01-02T15:04:05Z"),
		"contents":    contents,
		"rpm":         map[string]any{"buildhost": "localhost", "summary": about[of.name], "group": "System Environment/Base"},
	}
	if format == "apk" {
		c["description"] = about[of.name] // must be one line
	} else {
		c["recommends"] = []string{"ca-certificates"}
	}
	if format != "deb" { // which has a file instead
		c["license"] = "MIT"
	}
	if of.scripts != "" && format != "apk" {
		scripts := map[string]string{}
		for _, name := range []string{"postinstall", "preremove", "postremove"} {
			scripts[name] = filepath.Join(r.root, "packaging", of.scripts, name+".sh")
		}
		c["scripts"] = scripts
	}
	text, err := json.Marshal(c) // JSON is YAML
	if err != nil {
		return err
	}
	config := filepath.Join(stage, "nfpm.yaml")
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return err
	}
	file := fmt.Sprintf("%s_%s_%s.%s", of.name, r.number, p.machine, format)
	made := exec.CommandContext(ctx, r.nfpm, "package", "-f", config, "-p", format, "-t", filepath.Join(r.out, file))
	made.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.time.Unix()))
	if said, err := made.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", file, err, said)
	}
	return nil
}

// contents lists a package's files for nfpm.
func (r *release) contents(p platform, of pkg, format, stage string) ([]map[string]any, error) {
	var list []map[string]any
	add := func(from, to string, mode os.FileMode, kind string) {
		list = append(list, map[string]any{"src": from, "dst": to, "type": kind,
			"file_info": map[string]any{"mode": mode, "owner": "root", "group": "root", "mtime": r.time}})
	}
	add(r.program(p, of.name), "/usr/bin/"+of.name, 0o755, "")
	shared := filepath.Join(stage, of.name)
	err := walkFiles(shared, func(at, name string) error {
		if strings.HasPrefix(name, "man/") {
			packed, err := zip(at, stage, of.name)
			if err != nil {
				return err
			}
			at, name = packed, name+".gz"
		}
		if strings.HasPrefix(name, "zsh/") && format == "deb" {
			name = strings.Replace(name, "site-functions", "vendor-completions", 1)
		}
		add(at, "/usr/share/"+name, 0o644, "")
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, f := range of.files {
		if f.formats != "" && !strings.Contains(f.formats, format) {
			continue
		}
		kind := ""
		if f.config {
			kind = "config|noreplace"
		}
		add(filepath.Join(r.root, f.from), f.to, f.mode, kind)
	}
	if format != "deb" { // otherwise a removal leaves the folder
		list = append(list, map[string]any{"dst": "/usr/share/licenses/" + of.name, "type": "dir",
			"file_info": map[string]any{"mode": 0o755, "owner": "root", "group": "root", "mtime": r.time}})
	}
	documents, err := r.documents(of, format, stage)
	for from, to := range documents {
		add(from, to, 0o644, "")
	}
	return list, err
}
