package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// childrenOf returns how many children a process has, with zombies.
func childrenOf(pid int) (n int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it is gone
		}
		// After the name in parentheses: the state, the parent.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) > 1 && string(fields[1]) == strconv.Itoa(pid) {
			n++
		}
	}
	return n
}

// TestAgent_ReapsOrphans: an agent that is process 1 reaps what hooks leave behind, and still knows how hooks have ended.
func TestAgent_ReapsOrphans(t *testing.T) {
	w := way{pid1: true}
	w.needed(t)
	s := vaulttest.Start(t)
	id := s.Put(t, "token", "value-0", sandbox, "TOKEN")
	d := newAgent(t, configured(s.BaseURL, s.ResourceKey(t, sandbox)), `
[[output]]
path = "$DIR/env"
format = "shell"
allow_disk = true
hook = "sleep 0.1 >/dev/null 2>&1 & : >/dev/null & echo ran >> $DIR/ran; exit 3"
`)
	d.command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	log, err := os.Create(filepath.Join(d.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	d.start(log)
	runs := ""
	for i := range 4 {
		if i > 0 {
			s.Rotate(t, id, "value-"+strconv.Itoa(i))
		}
		runs += "ran\n"
		d.holds("ran", runs)
		if !poll.Within(time.Minute, func() bool { return childrenOf(d.command.Process.Pid) == 0 }) {
			t.Fatalf("the agent has %d children after %d hooks", childrenOf(d.command.Process.Pid), i+1)
		}
	}
	d.says(`(?s)(hook failed .*status="exit status 3".*){4}`)
	d.ends()
}
