package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/memoryimage"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// clean checks that the agent's memory contains no values, and that it does contain the controls.
func (r *agentRun) clean(values, controls memoryimage.Marks) {
	r.Helper()
	r.idle()
	pid := r.command.Process.Pid
	seen := memoryimage.Of(r.T, pid, values)
	for where, found := range seen.Found {
		r.Errorf("%q in %s", found, where)
	}
	secret := 0
	for _, line := range seen.Closed {
		if strings.Contains(line, "secretmem") {
			secret++
		} else if !strings.Contains(line, "[v") { // vvar, vsyscall
			r.Logf("can't be read: %s", line)
		}
	}
	if secret == 0 {
		r.Error("no mapping is closed to root: does this kernel have memfd_secret?")
	}
	r.Logf("%d KiB seen, %d mappings of secret memory", seen.Size>>10, secret)
	if len(memoryimage.Of(r.T, pid, controls).Found) == 0 {
		r.Error("the controls are not found in the image")
	}
	if text, ok := memoryimage.CoreOf(r.T, pid); ok {
		if found := values.Find(text); found != nil {
			r.Errorf("%q in a core", found)
		}
		if controls.Find(text) == nil {
			r.Error("the controls are not found in the core")
		}
	}
}

// idle waits until no hook runs and all output of hooks is read, because until then it is in a buffer.
func (r *agentRun) idle() {
	r.Helper()
	proc, quiet := fmt.Sprintf("/proc/%d/", r.command.Process.Pid), 0
	if !poll.Within(time.Minute, func() bool {
		lists, err := filepath.Glob(proc + "task/*/children")
		running := err != nil || len(lists) == 0
		for _, list := range lists {
			text, err := os.ReadFile(list)
			running = running || err == nil && len(text) > 0
		}
		open, err := filepath.Glob(proc + "fd/*")
		running = running || err != nil || len(open) == 0
		for _, fd := range open {
			to, err := os.Readlink(fd)
			info, _ := os.ReadFile(proc + "fdinfo/" + filepath.Base(fd))
			// An inherited file stays open over exec; the agent's own are close-on-exec.
			own := regexp.MustCompile(`flags:\s0*2\d{6}\n`).Match(info)
			running = running || err == nil && own && strings.HasPrefix(to, "pipe:")
		}
		if quiet++; running {
			quiet = 0
		}
		return quiet == 3 // not in the moment between two hooks
	}) {
		r.Fatal("hooks do not end")
	}
}

// asks makes clients get values through the socket in every way.
func (r *agentRun) asks() {
	r.Helper()
	const small = "[VO]*[0-9S]" // larger variables do not fit into execve
	for _, args := range [][]string{
		{"run", "--only", small, "--", "true"}, {"run", "--mask", "--only", small, "--", "env"}, {"export"}, {"export", "--format", "json"},
		{"export", "--format", "dotenv", "--only", "VALUE_*"}, {"get", "VALUE_33"}, {"get", "ODD_HUGE"}, {"list"}, {"list", "--json"}, {"refresh"}, {"status"},
	} {
		asked := attempt{args: args, env: map[string]string{"MIOSA_SOCKET": filepath.Join(r.dir, "agent.sock")}}
		if _, stderr, code := asked.start(r.T, r.dir); code != 0 {
			r.Fatalf("%s: exit code %d\n%s", args[0], code, stderr)
		}
	}
}

// The released agent fetches, caches, writes outputs in every format, runs hooks that print them, serves clients
// and takes rotations. Its memory, as root can read it, and its core contain no value; nor do those of an agent
// that started from the cache.
func TestMemoryImage(t *testing.T) {
	needs.Long(t, "it searches all of an agent's memory")
	needs.Root(t, "to read another process's memory")
	s := vaulttest.Start(t)
	values, controls := memoryimage.NewMarks(), memoryimage.NewMarks()
	const filler = "0123456789abcdefghijklmnopqrstuvwxyz"
	ids, number := map[string]string{}, 0
	next := func(more int) string { number++; return values.Value(number, more, filler) }
	var plain []string
	lengths := map[string]int{}
	add := func(name string, more int) {
		lengths[name] = more
		plain = append(plain, name)
		ids[name] = s.Put(t, "the "+name, next(more), sandbox, name)
	}
	for more := range 71 {
		add(fmt.Sprintf("VALUE_%d", more), more)
	}
	for _, more := range []int{200, 1000, 3900, 5000, 40_000} {
		add(fmt.Sprintf("VALUE_%d", more), more)
	}
	odd := map[string]string{ // values that some formats cannot represent
		"ODD_QUOTES": `it's "quoted" \ $HOME `, "ODD_LINES": "line\nand <another> & é\n", "ODD_HUGE": strings.Repeat(filler, 10_000),
	}
	for name, within := range odd {
		ids[name] = s.Put(t, "the "+name, next(0)+within+next(0), sandbox, name)
	}

	dir := t.TempDir()
	config := "cache = true\ncache_dir = \"" + dir + "/state\"\n"
	for _, format := range []string{"systemd", "shell", "docker", "dotenv", "json", "files"} {
		only := `["VALUE_*"]`
		if format == "json" || format == "files" {
			only = `["*"]`
		}
		config += fmt.Sprintf("\n[[output]]\npath = \"$DIR/%[1]s\"\nformat = \"%[1]s\"\nallow_disk = true\nonly = %s\n"+
			"hook = 'if [ -d \"$MIOSA_OUTPUT\" ]; then cat \"$MIOSA_OUTPUT\"/*; else cat \"$MIOSA_OUTPUT\" >&2; fi # %s'\n", format, only, controls.Text)
	}
	a := configured(s.BaseURL, s.ResourceKey(t, sandbox)).with("MIOSA_LOG_LEVEL", "trace")
	d := runAgent(t, a, config)
	d.says("hook done.*files")
	d.asks()
	for i := range 3 { // each rotates values of many lengths
		last := ""
		for at := i; at < len(plain); at += 5 {
			last = next(lengths[plain[at]])
			s.Rotate(t, ids[plain[at]], last)
		}
		for _, format := range []string{"systemd", "shell", "docker", "dotenv", "json"} {
			d.holds(format, last)
		}
		d.asks()
	}
	s.Rotate(t, ids["ODD_LINES"], odd["ODD_QUOTES"]+next(0)+odd["ODD_LINES"]+next(0))
	s.Delete(t, ids["VALUE_70"])
	if !poll.Within(time.Minute, func() bool { _, err := os.Lstat(d.dir + "/files/VALUE_70"); return os.IsNotExist(err) }) {
		t.Error("a value that was deleted is still there")
	}

	// The controls: a process that contains values, and text that is known to be in the agent.
	holder := exec.Command(filepath.Join(built, "miosa-env"), "run", "--only", "VALUE_33", "--", "sleep", "1000")
	holder.Env = []string{"PATH=" + os.Getenv("PATH"), "MIOSA_SOCKET=" + filepath.Join(d.dir, "agent.sock")}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = holder.Process.Kill(); _ = holder.Wait() })
	if !poll.Within(time.Minute, func() bool {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", holder.Process.Pid))
		return strings.HasPrefix(string(text), "sleep")
	}) {
		t.Fatal("the command does not start")
	}
	if len(memoryimage.Of(t, holder.Process.Pid, values).Found) == 0 {
		t.Error("the environment of a command is not found in its image")
	}
	d.clean(values, controls)
	log := d.log()
	if values.Find([]byte(log)) != nil || !strings.Contains(log, "[VALUE_33]") {
		t.Error("a value is in the log, or the hooks printed none")
	}
	cached, err := filepath.Glob(filepath.Join(dir, "state", "*"))
	if err != nil || len(cached) == 0 {
		t.Fatalf("no cache: %v", err)
	}
	for _, path := range cached {
		text, err := os.ReadFile(path)
		if err != nil || values.Find(text) != nil {
			t.Errorf("the cache holds a value in the clear, or can't be read: %v", err)
		}
	}

	d.ends()
	s.Stop(t)
	d = runAgent(t, a, config)
	d.says("hook done.*files")
	asked := attempt{args: []string{"get", "VALUE_33"}, env: map[string]string{"MIOSA_SOCKET": filepath.Join(d.dir, "agent.sock")}}
	if stdout, _, code := asked.start(t, d.dir); code != 0 || values.Find([]byte(stdout)) == nil {
		t.Errorf("no value from the cache: exit code %d", code)
	}
	d.clean(values, controls)
}
