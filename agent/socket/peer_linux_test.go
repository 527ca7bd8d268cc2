package socket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/agent/peer"
	"github.com/Miosa-osa/miosa-env/agent/socket"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/agenttest"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// asOther makes this test binary perform one action as another user.
const asOther = "MIOSA_ENV_TEST_SOCKET"

func init() {
	todo, path, _ := strings.Cut(os.Getenv(asOther), " ")
	switch todo {
	case "":
		return
	case "ask": // prints how many values it received, or the error
		c, err := socket.Dial(path)
		if err == nil {
			var set api.Snapshot
			if set, err = c.Source(sandbox, "").Next(context.Background(), ""); err == nil {
				fmt.Printf("%d values", len(set.Bound))
			}
		}
		switch {
		case errors.Is(err, api.ErrDenied):
			fmt.Print("denied")
		case errors.Is(err, socket.ErrUntrusted):
			fmt.Print("untrusted")
		case err != nil:
			fmt.Print(err)
		}
	case "idle": // opens as many connections as possible, prints so, and stays until its input ends
		for range 100 {
			c, err := net.Dial("unix", path)
			if err != nil {
				fmt.Print(err)
				break
			}
			defer func() { _ = c.Close() }()
		}
		fmt.Println("silent")
		_, _ = os.Stdin.Read(make([]byte, 1))
	case "serve": // serves values to this user, and to the one that stands for unknown users
		s, err := socket.Listen(socket.Config{Path: path, Engine: newFakeEngine(many(3)), Allow: peer.List{UIDs: []uint32{65534}, GIDs: []uint32{65534}}})
		if err == nil {
			err = os.Chmod(path, 0o666)
		}
		if err != nil {
			fmt.Print(err)
			break
		}
		fmt.Println("serving as", os.Geteuid())
		s.Serve(context.Background())
	case "listen": // answers every client with its own set
		l, err := net.Listen("unix", path)
		if err == nil {
			err = os.Chmod(path, 0o666)
		}
		if err != nil {
			fmt.Print(err)
			break
		}
		fmt.Println("listening")
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
			n, _ := c.Read(make([]byte, 4096))
			if n > 0 {
				fmt.Println("was asked")
			}
			_ = c.Close()
		}
	}
	os.Exit(0)
}

// other returns this test binary as a command of another user.
func other(t *testing.T, todo string, uid, gid uint32, groups ...uint32) *exec.Cmd {
	t.Helper()
	needs.Root(t, "to be other users")
	c := exec.CommandContext(t.Context(), "/proc/self/exe")
	c.Env = []string{asOther + "=" + todo}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}}
	return c
}

// Clients are admitted by the user and groups that the kernel reports. The test uses real ones.
func TestSocketPeers(t *testing.T) {
	many128 := make([]uint32, 128)
	for i := range many128 {
		many128[i] = uint32(7000 + i)
	}
	allow := peer.List{UIDs: []uint32{5001}, GIDs: []uint32{6001, 7127}}
	for _, tt := range []struct {
		name     string
		uid, gid uint32
		groups   []uint32
		want     string
	}{
		{"root", 0, 0, nil, "3 values"},
		{"a user allowed", 5001, 6000, nil, "3 values"},
		{"a group allowed", 5002, 6001, nil, "3 values"},
		{"another group allowed", 5002, 6000, []uint32{6000, 6001, 6002}, "3 values"},
		{"the last of many groups", 5002, 6000, many128, "3 values"},
		{"nobody", 65534, 65534, nil, "denied"},
		{"a group of the user's number", 5002, 5001, []uint32{5001}, "denied"},
		{"a user of the group's number", 6001, 6000, nil, "denied"},
		{"many groups", 5002, 6000, many128[:100], "denied"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at := agenttest.Serve(t, newFakeEngine(many(3)), allow)
			out, err := other(t, "ask "+at.Path(), tt.uid, tt.gid, tt.groups...).CombinedOutput()
			if err != nil || string(out) != tt.want {
				t.Fatalf("%q, %v, want %q", out, err, tt.want)
			}
			at.Stop()
			message, names := `"message":"socket request refused"`, false
			if tt.want != "denied" {
				message, names = `"outcome":"ok"`, true
			}
			log := at.Log.String()
			if who := fmt.Sprintf(`"uid":%d,"gid":%d,"pid":`, tt.uid, tt.gid); !strings.Contains(log, who) || !strings.Contains(log, message) {
				t.Errorf("log %s, want %s and %s", log, who, message)
			}
			if strings.Contains(log, "VARIABLE_2") != names {
				t.Errorf("names in the log = %v, want %v", !names, names)
			}
		})
	}
}

func TestSocketAllowedChanges(t *testing.T) {
	at := agenttest.Serve(t, newFakeEngine(many(3)), peer.List{})
	ask := func(want string) {
		t.Helper()
		if out, err := other(t, "ask "+at.Path(), 5001, 5001).CombinedOutput(); err != nil || string(out) != want {
			t.Errorf("%q, %v, want %q", out, err, want)
		}
	}
	ask("denied")
	at.SetAllowed(peer.List{UIDs: []uint32{5001}})
	ask("3 values")
	at.SetAllowed(peer.List{})
	ask("denied")
}

// A user who opens as many connections as possible doesn't block other users or root.
func TestSocketLimitPerUser(t *testing.T) {
	at := agenttest.Serve(t, newFakeEngine(many(3)), peer.List{UIDs: []uint32{5001, 5002}})
	idle := other(t, "idle "+at.Path(), 5001, 5001)
	in, err := idle.StdinPipe()
	must(t, err)
	out, err := idle.StdoutPipe()
	must(t, err)
	must(t, idle.Start())
	defer func() { _ = in.Close(); _ = idle.Wait() }()
	if _, err := out.Read(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	poll.Until(t, 30*time.Second, "16 connections are counted", func() bool { active, _ := at.Counts(); return active == 16 })
	if out, err := other(t, "ask "+at.Path(), 5002, 5002).CombinedOutput(); err != nil || string(out) != "3 values" {
		t.Errorf("another user: %q, %v", out, err)
	}
	if _, err := at.Dial(t).Source(sandbox, "").Next(t.Context(), ""); err != nil {
		t.Errorf("root: %v", err)
	}
	if !strings.Contains(at.Log.String(), `"reason":"too many at once"`) {
		t.Error("no connection was refused")
	}
}

// A client sends nothing to another user's process that listens on the agent's path.
func TestDialUntrustedListener(t *testing.T) {
	dir, err := os.MkdirTemp("", "listener")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o777))
	path := filepath.Join(dir, "agent.sock")
	untrusted := other(t, "listen "+path, 5001, 5001)
	var heard bytes.Buffer
	out, err := untrusted.StdoutPipe()
	must(t, err)
	must(t, untrusted.Start())
	first := make([]byte, 64)
	n, err := out.Read(first)
	if err != nil || string(first[:n]) != "listening\n" {
		t.Fatalf("%q, %v", first[:n], err)
	}
	if _, err := socket.Dial(path); !errors.Is(err, socket.ErrUntrusted) || !strings.Contains(err.Error(), "uid 5001") {
		t.Errorf("root: %v, want %v", err, socket.ErrUntrusted)
	}
	if _, err := socket.Dial(filepath.Join(dir, "none"), path); !errors.Is(err, socket.ErrUntrusted) {
		t.Errorf("as the second of two: %v, want %v", err, socket.ErrUntrusted)
	}
	if out, err := other(t, "ask "+path, 5002, 5002).CombinedOutput(); err != nil || string(out) != "untrusted" {
		t.Errorf("another user: %q, %v", out, err)
	}
	must(t, untrusted.Process.Kill())
	_, _ = heard.ReadFrom(out)
	_ = untrusted.Wait()
	if heard.Len() > 0 {
		t.Errorf("the other process got a request: %q", heard.String())
	}
}

// BenchmarkDialNextFloor reads the same reply as BenchmarkDialNext and discards it.
func BenchmarkDialNextFloor(b *testing.B) {
	for _, n := range []int{5, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			at := agenttest.Serve(b, newFakeEngine(many(n)), peer.List{})
			line, buf := []byte(`{"op":"reveal","resource_type":"sandbox","resource_id":"sb_1"}`+"\n"), make([]byte, 64<<10)
			b.ReportAllocs()
			for b.Loop() {
				fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
				if err != nil {
					b.Fatal(err)
				}
				err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: at.Path()})
				if err == nil {
					_, err = syscall.Write(fd, line)
				}
				for got := 1; got > 0 && err == nil; {
					got, err = syscall.Read(fd, buf)
				}
				if err != nil {
					b.Fatal(err)
				}
				_ = syscall.Close(fd)
			}
		})
	}
}
