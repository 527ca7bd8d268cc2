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
	// files are those other than the program, its documents, manual pages and completions: paths in the sources, by the path
	// at which they are installed.
	files     map[string]string
	scripts   string      // folder of its maintainer scripts in packaging; empty: none
	overrides [][2]string // lintian's tags, and why they do not apply
}

const maintainer = "MIOSA <noreply@miosa.ai>"

// revision is the package's revision, the same for each version of the program.
const revision = "1"

// Tags of lintian for every program.
var (
	static = [2]string{"statically-linked-binary", "A program in Go is one file that depends on nothing."}
	closes = [2]string{"initial-upload-closes-no-bugs", "The package isn't in Debian's archive, and nobody has asked for it there."}
)

// packages are all packages. Files below /usr/lib are for systemd, which Alpine doesn't have.
var packages = []pkg{
	{
		name: "miosa-env", scripts: "miosa-env",
		files: map[string]string{
			"/usr/lib/systemd/system/miosa-env.service": "systemd/miosa-env.service",
			"/usr/lib/systemd/system/miosa-env.target":  "systemd/miosa-env.target",
			"/usr/lib/sysusers.d/miosa-env.conf":        "systemd/miosa-env.sysusers.conf",
			"/usr/lib/tmpfiles.d/miosa-env.conf":        "systemd/miosa-env.tmpfiles.conf",
			"/etc/miosa-env/agent.toml":                 "systemd/agent.toml",
		},
		about: "Starts a command with the secrets bound to its sandbox or computer in its\nenvironment, and keeps them current while it runs.",
		overrides: [][2]string{
			static, closes,
			{"systemd-service-file-refers-to-unusual-wantedby-target", "The target is the package's own: a boot doesn't wait for a slow vault."},
			{"maintainer-script-calls-systemctl", "deb-systemd-invoke waits until a service is ready, which takes a vault, and starts one that was stopped."},
		},
	},
	{
		name: "miosa-egress", scripts: "miosa-egress",
		files: map[string]string{
			"/usr/lib/systemd/system/miosa-egress.service": "systemd/miosa-egress.service",
			"/usr/lib/sysusers.d/miosa-egress.conf":        "systemd/miosa-egress.sysusers.conf",
			"/usr/lib/tmpfiles.d/miosa-egress.conf":        "systemd/miosa-egress.tmpfiles.conf",
			"/etc/miosa-egress/egress.toml":                "systemd/egress.toml",
		},
		about: "Receives the outgoing requests of sandboxes, and puts the values of secrets\nin the places of placeholders, at the hosts that rules allow.",
		overrides: [][2]string{
			static, closes,
			{"maintainer-script-calls-systemctl", "deb-systemd-invoke starts a service that was stopped."},
		},
	},
	{
		name:      "miosa-vault",
		about:     "Keeps secrets, encrypted at rest, and serves them to the sandboxes and\ncomputers they are bound to.",
		overrides: [][2]string{static, closes},
	},
}

// pack makes one package for Linux on a machine, as Go names it.
func (r *release) pack(ctx context.Context, machine string, of pkg, format string) error {
	stage, err := os.MkdirTemp("", "release")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(stage) }()
	contents, err := r.contents(machine, of, format, stage)
	if err != nil {
		return err
	}
	c := map[string]any{
		"name": of.name, "arch": machine, "platform": "linux",
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
	file := fmt.Sprintf("%s_%s_%s.%s", of.name, r.number, machine, format)
	made := exec.CommandContext(ctx, r.nfpm, "package", "-f", config, "-p", format, "-t", filepath.Join(r.out, file))
	made.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.time.Unix()))
	if said, err := made.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", file, err, said)
	}
	return nil
}

// contents writes a package's files to the stage, and lists them for nfpm.
func (r *release) contents(machine string, of pkg, format, stage string) ([]map[string]any, error) {
	program := "/usr/bin/" + of.name
	files, from := r.documents(of, format), map[string]string{program: r.program("linux/"+machine, of.name)}
	for to, path := range of.files {
		if format != "apk" || !strings.HasPrefix(to, "/usr/lib/") {
			from[to] = filepath.Join(r.root, path)
		}
	}
	if err := readFiles(files, from); err != nil {
		return nil, err
	}
	for name, content := range r.shared[of.name] {
		if strings.HasPrefix(name, "man/") {
			name += ".gz"
		}
		if strings.HasPrefix(name, "zsh/") && format == "deb" {
			name = strings.Replace(name, "site-functions", "vendor-completions", 1)
		}
		files["/usr/share/"+name] = content
	}
	var list []map[string]any
	add := func(from, to string, mode os.FileMode, kind string) {
		list = append(list, map[string]any{"src": from, "dst": to, "type": kind,
			"file_info": map[string]any{"mode": mode, "owner": "root", "group": "root", "mtime": r.time}})
	}
	for to, content := range files {
		mode, kind := os.FileMode(0o644), ""
		switch {
		case to == program:
			mode = 0o755
		case strings.HasPrefix(to, "/etc/"):
			kind = "config|noreplace" // upgrades keep changes
		case strings.HasSuffix(to, ".gz"):
			var err error
			if content, err = zipped(content); err != nil {
				return nil, err
			}
		}
		path := filepath.Join(stage, strings.ReplaceAll(to, "/", "_"))
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return nil, err
		}
		add(path, to, mode, kind)
	}
	if format != "deb" { // otherwise a removal leaves the folder
		add("", "/usr/share/licenses/"+of.name, 0o755, "dir")
	}
	return list, nil
}
