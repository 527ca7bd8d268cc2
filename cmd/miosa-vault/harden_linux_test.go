package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

// served starts miosa-vault serve on a new folder with the root key in its environment, between two other variables.
func served(t *testing.T) (p *process, rootKey string) {
	t.Helper()
	root, err := keyring.NewRoot()
	if err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("miosa-vault")
	if err != nil {
		t.Fatal(err)
	}
	p = &process{Cmd: exec.Command(path, "serve", "--data-dir", filepath.Join(t.TempDir(), "data"), "--addr", "127.0.0.1:0", "--log-format", "json")}
	p.Env = []string{"BEFORE=bystander", keyring.EnvName + "=" + root.Reveal(), "AFTER=bystander", "GOTRACEBACK=crash"} // crash: the kernel ends it
	p.Dir = t.TempDir()
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p, root.Reveal()
}

// The root key isn't in the environment of a running vault, as root sees it; other variables are.
func TestAttack_RootKeyInEnvironment(t *testing.T) {
	p, rootKey := served(t)
	file := fmt.Sprintf("/proc/%d/environ", p.Process.Pid)
	p.serves(t)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
		return // an undumpable process's environment is root's alone
	}
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte(rootKey[:20])) || bytes.Contains(text, []byte(rootKey[len(rootKey)-8:])) {
		t.Error("the root key is in the environment")
	}
	if strings.Count(string(text), "bystander") != 2 {
		t.Error("other variables are not in the environment")
	}
}

// A running vault can't be dumped: neither by a debugger of its user nor by a signal, whatever the limit of core files.
func TestAttack_CoreOfTheVault(t *testing.T) {
	p, _ := served(t)
	p.serves(t)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.Process.Pid))
	if err == nil && !strings.Contains(strings.Join(strings.Fields(string(status)), " "), "Max core file size 0 ") {
		t.Errorf("the limit of core files isn't 0:\n%s", status)
	}
	info, err := os.Stat(fmt.Sprintf("/proc/%d/mem", p.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		if st := info.Sys().(*syscall.Stat_t); st.Uid != 0 { // as the kernel shows that a process is undumpable
			t.Errorf("uid %d may read the vault's memory", st.Uid)
		}
		return
	}
	lifted := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(p.Process.Pid, unix.RLIMIT_CORE, &lifted, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Process.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	if ws := p.ProcessState.Sys().(syscall.WaitStatus); ws.CoreDump() {
		t.Errorf("the vault left a core: %v", p.ProcessState)
	}
}
