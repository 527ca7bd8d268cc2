package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// agentRun is a miosa-env agent under test, in its own directory, which also contains its configuration.
type agentRun struct {
	*testing.T
	dir     string
	command *exec.Cmd
}

// runAgent starts an agent with a configuration, in which $DIR is its directory.
func runAgent(t *testing.T, a attempt, config string) *agentRun {
	t.Helper()
	r := newAgent(t, a, config)
	log, err := os.Create(filepath.Join(r.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	r.start(log)
	return r
}

// newAgent is runAgent without the start.
func newAgent(t *testing.T, a attempt, config string) *agentRun {
	t.Helper()
	r := &agentRun{T: t, dir: t.TempDir()}
	r.write("agent.toml", "socket = \"$DIR/agent.sock\"\n"+config)
	r.command = exec.Command(filepath.Join(built, "miosa-env"), "agent", "--config", "agent.toml")
	r.command.Dir = r.dir
	r.command.Env = environ(a.env)
	return r
}

// start starts the agent with its output in a file.
func (r *agentRun) start(log *os.File) {
	r.Helper()
	r.command.Stdout, r.command.Stderr = log, log
	if err := r.command.Start(); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		if r.command.ProcessState == nil {
			_ = r.command.Process.Kill()
			_ = r.command.Wait()
		}
	})
}

// write replaces a file by renaming another one.
func (r *agentRun) write(name, text string) {
	r.Helper()
	text = strings.ReplaceAll(text, "$DIR", r.dir)
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		r.Fatal(err)
	}
}

func (r *agentRun) log() string {
	b, err := os.ReadFile(filepath.Join(r.dir, "log"))
	if err != nil {
		r.Fatal(err)
	}
	return string(b)
}

// says waits for a pattern in the log.
func (r *agentRun) says(pattern string) {
	r.Helper()
	sought := regexp.MustCompile("(?m)" + pattern)
	if !poll.Within(time.Minute, func() bool { return sought.MatchString(r.log()) }) {
		r.Fatalf("the log does not match %s:\n%s", pattern, r.log())
	}
}

// holds waits until a file contains a text.
func (r *agentRun) holds(name, text string) {
	r.Helper()
	if !poll.Within(time.Minute, func() bool {
		b, _ := os.ReadFile(filepath.Join(r.dir, name))
		return strings.Contains(string(b), text)
	}) {
		r.Fatalf("%s does not contain the text; the log:\n%s", name, r.log())
	}
}

// holdsNone checks that files contain no secrets. Failures name the file only.
func (r *agentRun) holdsNone(secrets []string, paths ...string) {
	r.Helper()
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			r.Error(err)
		}
		if i, yes := leaked(string(b), secrets...); yes {
			r.Errorf("secret %d is in %s", i, path)
		}
	}
}

func (r *agentRun) ends() {
	r.Helper()
	if err := r.command.Process.Signal(syscall.SIGTERM); err != nil {
		r.Fatal(err)
	}
	if err := r.command.Wait(); err != nil {
		r.Fatalf("%v\n%s", err, r.log())
	}
}

// An agent that gets several signals ends as with the first one.
func TestAgent_SeveralSignals(t *testing.T) {
	s := vaulttest.Start(t)
	s.Put(t, "token", "the-value", sandbox, "TOKEN")
	for _, signals := range [][]syscall.Signal{{syscall.SIGTERM}, {syscall.SIGINT}, {syscall.SIGTERM, syscall.SIGINT}} {
		d := runAgent(t, configured(s.BaseURL, s.ResourceKey(t, sandbox)), "[[output]]\npath = \"$DIR/env\"\nformat = \"shell\"\nallow_disk = true\n")
		d.holds("env", "the-value")
		ended := make(chan error, 1)
		go func() { ended <- d.command.Wait() }()
		for i := 0; ; i++ {
			select {
			case err := <-ended:
				if err != nil {
					t.Errorf("%v: %v\n%s", signals, err, d.log())
				}
			case <-time.After(100 * time.Microsecond):
				_ = d.command.Process.Signal(signals[i%len(signals)])
				continue
			}
			break
		}
	}
}

// A CA file that replaces another is trusted from then on, and it alone: with a wrong one the agent gets no
// values.
func TestAgent_NewCA(t *testing.T) {
	c, ca, _ := vaulttest.Certificate(t)
	_, other, _ := vaulttest.Certificate(t)
	s := vaulttest.Start(t, vaulttest.WithTLS(c))
	s.Put(t, "token", "the-value", sandbox, "TOKEN")
	text := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	dir := t.TempDir()
	r := &agentRun{T: t, dir: dir}
	r.write("ca.pem", text(other))
	a := configured(s.BaseURL, s.ResourceKey(t, sandbox)).with("MIOSA_CA_FILE", filepath.Join(dir, "ca.pem"))
	d := runAgent(t, a, "[[output]]\npath = \"$DIR/env\"\nformat = \"shell\"\nallow_disk = true\n")
	d.says("signed by an authority this machine doesn't trust")
	r.write("ca.pem", text(ca))
	d.says(`configuration reloaded changed=\["vault"\]`)
	d.holds("env", "the-value")
	r.write("ca.pem", "not a certificate")
	d.says("configuration invalid: keeping the previous one")
	d.ends()
}

// An agent at trace level, through every kind of failure: its log, arguments, environment, and files other than
// outputs contain no value and no key. TestMemoryImage checks its memory and core.
func TestFault_A18_Canaries(t *testing.T) {
	s := vaulttest.Start(t)
	id := s.Put(t, "one", canaries[0], sandbox, "ONE")
	key, keyID := s.MintResourceKey(t, sandbox)
	d := runAgent(t, configured(s.BaseURL, key).with("MIOSA_LOG_LEVEL", "trace"), `
cache = true
cache_dir = "$DIR/state"

[[output]]
path = "$DIR/env"
format = "docker"
hook = ". $DIR/env; cat $DIR/env >&2; env"
allow_disk = true

[[output]]
path = "$DIR/files"
format = "files"
allow_disk = true
`)
	d.says("hook done")
	s.Rotate(t, id, canaries[1]) // two lines, which the docker format cannot represent
	d.says("output not updated")
	d.holds("files/ONE", canaries[1])
	d.write("agent.toml", "key = \""+key.Reveal()+"\"\n"+key.Reveal()+" = 1\n")
	d.says("configuration invalid")
	s.Stop(t)
	d.says("keeping the last set")
	s.Restart(t)
	d.says("vault available again")
	secrets := append([]string{key.Reveal()}, canaries...)
	d.holdsNone(secrets, filepath.Join("/proc", strconv.Itoa(d.command.Process.Pid), "cmdline"))
	if environ := filepath.Join("/proc", strconv.Itoa(d.command.Process.Pid), "environ"); os.Geteuid() == 0 {
		d.holdsNone(secrets, environ)
	} else if _, err := os.ReadFile(environ); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("the environment can be read by the user: %v", err)
	}
	cached, err := filepath.Glob(filepath.Join(d.dir, "state", "*"))
	if err != nil || len(cached) == 0 {
		t.Errorf("no cache: %v", err)
	}
	d.holdsNone(secrets, cached...)
	s.Revoke(t, keyID)
	d.says("key refused: all values removed")
	if !poll.Within(time.Minute, func() bool { _, err := os.Stat(filepath.Join(d.dir, "env")); return os.IsNotExist(err) }) {
		t.Error("the env file remains after the revocation")
	}
	d.ends()
	d.holdsNone(secrets, filepath.Join(d.dir, "log"))
}
