package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

// SIGQUIT ends the vault without printing goroutine stacks.
func TestQuit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "miosa-vault")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", path, ".") // the real main, which scripts do not run
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	root, err := keyring.NewRoot()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(path, "serve", "--data-dir", t.TempDir(), "--addr", "127.0.0.1:0", "--log-format", "json")}
	p.Env = append(os.Environ(), "MIOSA_VAULT_ROOT_KEY="+root.Reveal())
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	defer p.kill()
	p.serves(t)
	if err := p.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	_, said := p.text()
	if status, ok := p.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGQUIT || strings.Contains(said, "goroutine") {
		t.Errorf("%v, standard error:\n%s", p.ProcessState, said)
	}
}
