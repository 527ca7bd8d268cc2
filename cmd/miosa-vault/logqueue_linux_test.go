package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

// TestServe_UnreadLog: a vault whose log is not read answers requests, of which each logs a line, and ends.
func TestServe_UnreadLog(t *testing.T) {
	root, err := keyring.NewRoot()
	if err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("miosa-vault")
	if err != nil {
		t.Fatal(err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = out.Close(), in.Close() }()
	p := exec.Command(path, "serve", "--data-dir", t.TempDir(), "--addr", "127.0.0.1:0", "--log-format", "json", "--log-level", "debug")
	p.Env = append(os.Environ(), keyring.EnvName+"="+root.Reveal())
	p.Stderr = in
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Wait() }()
	defer func() { _ = p.Process.Kill() }()
	var line struct{ Message, Addr string }
	for log := bufio.NewReader(out); line.Message != "serving"; {
		text, err := log.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(text, &line)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for block := make([]byte, 4096); err == nil; {
		_, err = unix.Pwritev2(int(in.Fd()), [][]byte{block}, -1, unix.RWF_NOWAIT)
	}
	if !errors.Is(err, unix.EAGAIN) {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for i := range 50 { // more than the rest of the pipe's last page holds
		res, err := client.Get("http://" + line.Addr + "/api/v1/egress/keys/self")
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("status %d", res.StatusCode)
		}
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("it doesn't end")
	}
}
