package agent_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/notify"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// manager is the socket of a service manager. It is real, and read without waiting, so that virtual time doesn't affect
// it.
type manager struct {
	*testing.T
	fd  int
	env map[string]string
}

func newManager(t *testing.T, name string, watchdog time.Duration) *manager {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: name}))
	m := &manager{t, fd, map[string]string{"NOTIFY_SOCKET": name}}
	if watchdog > 0 {
		m.env["WATCHDOG_USEC"], m.env["WATCHDOG_PID"] = strconv.FormatInt(watchdog.Microseconds(), 10), strconv.Itoa(os.Getpid())
	}
	return m
}

func (m *manager) get(name string) string { return m.env[name] }

var (
	someTime  = regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:]+Z`)
	monotonic = regexp.MustCompile(`MONOTONIC_USEC=\d+`)
)

// received returns the messages since the last call.
func (m *manager) received() []string {
	m.Helper()
	var list []string
	for b := make([]byte, 4096); ; {
		n, _, err := unix.Recvfrom(m.fd, b, unix.MSG_DONTWAIT)
		if err != nil {
			return list
		}
		list = append(list, strings.ReplaceAll(someTime.ReplaceAllString(string(b[:n]), "TIME"), "\n", "|"))
	}
}

func (m *manager) expect(what string, want ...string) {
	m.Helper()
	synctest.Wait()
	if diff := cmp.Diff(m.received(), want); diff != "" {
		m.Errorf("%s (-got +want):\n%s", what, diff)
	}
}

// notifying uses a Notifier as the program does, until ctx ends.
func notifying(ctx context.Context, n *notify.Notifier, a *agent.Engine, reload <-chan func()) {
	n.Beat(a)
	for {
		moved := a.Changed()
		n.Update(a)
		select {
		case <-ctx.Done():
			n.Stopping()
			return
		case <-moved:
		case <-n.Tick():
			n.Beat(a)
		case change := <-reload:
			n.Reloading()
			change()
		}
	}
}

// managed runs an agent that notifies m until test returns.
func (m *manager) managed(conf agent.Config, test func(a *agent.Engine, reload chan<- func())) {
	m.Helper()
	runDaemon(m.T, conf, func(t *testing.T, a *agent.Engine) {
		n := notify.New(m.get, zerolog.Nop())
		defer n.Close()
		ctx, cancel := context.WithCancel(t.Context())
		reload, ended := make(chan func()), make(chan bool)
		go func() { notifying(ctx, n, a, reload); close(ended) }()
		test(a, reload)
		cancel()
		<-ended
		if got := m.received(); len(got) == 0 || got[len(got)-1] != "STOPPING=1|STATUS=stopping" {
			t.Errorf("at the end: %q", got)
		}
	})
}

func socketIn(t *testing.T) string { return filepath.Join(t.TempDir(), "notify") }

// READY is sent when values are in place, and not before: here from a vault that was unavailable at first.
func TestNotifyReady(t *testing.T) {
	for _, name := range []string{socketIn(t), fmt.Sprintf("@miosa-env-test-%d", os.Getpid())} {
		m := newManager(t, name, 0)
		vault, out := newFakeVault(snapshot(1)), &fakeOutput{name: "/out"}
		vault.err = errDown
		out.err = errors.New("no room")
		m.managed(agent.Config{Source: vault, Outputs: []agent.Output{out}}, func(*agent.Engine, chan<- func()) {
			m.expect("the vault is down", "EXTEND_TIMEOUT_USEC=30000000", "STATUS=waiting for the vault: not ready")
			time.Sleep(25 * time.Second)
			m.expect("still", "EXTEND_TIMEOUT_USEC=30000000", "EXTEND_TIMEOUT_USEC=30000000")
			vault.rotate(snapshot(1))
			time.Sleep(time.Minute)
			if got := m.received(); len(got) == 0 || !strings.HasPrefix(got[len(got)-1], "READY=1|STATUS=1 value, fresh; 1 output failed") {
				t.Errorf("with an output that can't be written: %q", got)
			}
			out.fail(nil)
			time.Sleep(time.Minute)
			m.expect("written", "STATUS=1 value, fresh")
			vault.rotate(snapshot(2))
			m.expect("a rotation changes nothing of that")
			vault.fail(errors.New("gone\nREADY=0\x00"))
			m.expect("the vault is gone", "STATUS=1 value, stale: last confirmed TIME: gone READY=0 ")
			vault.fail(errRevoked)
			time.Sleep(time.Minute)
			m.expect("revoked", "STATUS=refused: nothing is served: key was revoked")
		})
	}
}

// blocked is an output whose writes block.
type blocked struct {
	fakeOutput
	open chan struct{}
}

func (b *blocked) Write(s api.Snapshot) error {
	<-b.open
	return b.fakeOutput.Write(s)
}

// READY isn't sent while an output is pending or the vault refuses.
func TestNotifyWaits(t *testing.T) {
	m := newManager(t, socketIn(t), 0)
	vault := newFakeVault(snapshot(1))
	vault.err = errRevoked
	synctest.Test(t, func(t *testing.T) {
		out := &blocked{fakeOutput{name: "/out"}, make(chan struct{})}
		runAgent(t, agent.Config{Source: vault, Outputs: []agent.Output{out}}, func(t *testing.T, a *agent.Engine) {
			n := notify.New(m.get, zerolog.Nop())
			defer n.Close()
			n.Update(a)
			m.expect("refused", "STATUS=refused: nothing is served: key was revoked")
			vault.rotate(snapshot(1))
			must(t, a.Refresh(t.Context()))
			synctest.Wait()
			n.Update(a)
			m.expect("not written", "STATUS=1 value, fresh; 1 output pending")
			close(out.open)
			synctest.Wait()
			n.Update(a)
			m.expect("written", "READY=1|STATUS=1 value, fresh")
		})
	})
}

// A cached set counts as values in place.
func TestNotifyReadyFromTheCache(t *testing.T) {
	m := newManager(t, socketIn(t), 0)
	cache := cacheAt(t, filepath.Join(t.TempDir(), "cache"), someKey)
	must(t, cache.Save(snapshot(1), time.Now()))
	vault := newFakeVault(snapshot(1))
	vault.hang = true
	synctest.Test(t, func(t *testing.T) {
		must(t, cache.Save(snapshot(1), time.Now()))
		runAgent(t, agent.Config{Source: vault, Cache: cache}, func(t *testing.T, a *agent.Engine) {
			n := notify.New(m.get, zerolog.Nop())
			defer n.Close()
			n.Update(a)
			m.expect("before the cache's turn", "STATUS=waiting for the vault")
			time.Sleep(time.Second)
			n.Update(a)
			m.expect("after it", "READY=1|STATUS=1 value, stale: last confirmed TIME")
		})
	})
}

// A reload ends when its outputs are in place.
func TestNotifyReload(t *testing.T) {
	m := newManager(t, socketIn(t), 0)
	m.managed(agent.Config{Source: newFakeVault(snapshot(1))}, func(a *agent.Engine, reload chan<- func()) {
		m.expect("at first", "EXTEND_TIMEOUT_USEC=30000000", "READY=1|STATUS=1 value, fresh")
		for range 2 {
			var before, after unix.Timespec
			must(t, unix.ClockGettime(unix.CLOCK_MONOTONIC, &before))
			reload <- func() { a.SetOutputs([]agent.Output{&fakeOutput{name: "/out"}}) }
			synctest.Wait()
			must(t, unix.ClockGettime(unix.CLOCK_MONOTONIC, &after))
			got := m.received()
			want := []string{"RELOADING=1|MONOTONIC_USEC=N", "STATUS=1 value, fresh; 1 output pending", "READY=1|STATUS=1 value, fresh"}
			at := int64(0)
			if len(got) > 0 {
				at, _ = strconv.ParseInt(strings.TrimPrefix(monotonic.FindString(got[0]), "MONOTONIC_USEC="), 10, 64)
				got[0] = monotonic.ReplaceAllString(got[0], "MONOTONIC_USEC=N")
			}
			got = slices.DeleteFunc(got, func(s string) bool { return s == want[1] }) // a state that may be missed
			if diff := cmp.Diff(got, []string{want[0], want[2]}); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
			if at < before.Nano()/1000 || at > after.Nano()/1000 {
				t.Errorf("at %d µs, between %d and %d", at, before.Nano()/1000, after.Nano()/1000)
			}
		}
	})
}

// stuck is a source that ignores its context.
type stuck struct {
	*fakeVault
	free chan struct{}
}

func (s *stuck) Next(ctx context.Context, etag string) (api.Snapshot, error) {
	if etag != "" {
		<-s.free
	}
	return s.fakeVault.Next(ctx, etag)
}

// The watchdog is reset at a third of its time, also during a long wait, but not if the loop hangs.
func TestNotifyWatchdog(t *testing.T) {
	m := newManager(t, socketIn(t), 30*time.Second)
	fed := func() (n int) { // since the last call: the socket holds ten messages
		synctest.Wait()
		for _, s := range m.received() {
			if strings.HasPrefix(s, "WATCHDOG=1") {
				n++
			}
		}
		return n
	}
	vault := newFakeVault(snapshot(1))
	m.managed(agent.Config{Source: vault}, func(*agent.Engine, chan<- func()) {
		fed()
		during := func(d time.Duration) (n int) {
			for range d / time.Minute {
				time.Sleep(time.Minute)
				n += fed()
			}
			return n
		}
		time.Sleep(time.Second)
		if n := during(10 * time.Minute); n != 60 {
			t.Errorf("watchdog reset %d times in 10 minutes, want 60", n)
		}
		vault.fail(&api.Error{Kind: api.ErrUnavailable, Message: "later", RetryAfter: 30 * time.Minute})
		if n := during(30 * time.Minute); n != 180 {
			t.Errorf("watchdog reset %d times during a Retry-After of half an hour, want 180", n)
		}
	})

	synctest.Test(t, func(t *testing.T) {
		source := &stuck{newFakeVault(snapshot(1)), make(chan struct{})}
		runAgent(t, agent.Config{Source: source}, func(t *testing.T, a *agent.Engine) {
			n := notify.New(m.get, zerolog.Nop())
			defer n.Close()
			count := func(d time.Duration) (times int) {
				for over := time.After(d); ; {
					select {
					case <-n.Tick():
						n.Beat(a)
						times += fed()
					case <-over:
						return times
					}
				}
			}
			if n := count(95 * time.Second); n != 9 {
				t.Errorf("watchdog reset %d times within the longest wait, want 9", n)
			}
			count(time.Minute)
			if n := count(10 * time.Minute); n != 0 {
				t.Errorf("watchdog reset %d times while the loop hangs", n)
			}
			close(source.free)
			synctest.Wait()
			if n := count(time.Minute); n != 6 {
				t.Errorf("watchdog reset %d times after the loop has continued, want 6", n)
			}
		})
	})
}

// The watchdog of another process isn't reset, and nothing is sent without a manager.
func TestNotifyNoManager(t *testing.T) {
	if n := notify.New(func(string) string { return "" }, zerolog.Nop()); n != nil {
		t.Error("a notifier without a manager")
	}
	var none *notify.Notifier
	none.Reloading()
	none.Stopping()
	none.Close()
	if none.Tick() != nil {
		t.Error("a nil Notifier has ticks")
	}
	m := newManager(t, socketIn(t), time.Second)
	m.env["WATCHDOG_PID"] = "1"
	m.managed(agent.Config{Source: newFakeVault(snapshot(1))}, func(*agent.Engine, chan<- func()) {
		m.expect("at first", "EXTEND_TIMEOUT_USEC=30000000", "READY=1|STATUS=1 value, fresh")
		time.Sleep(time.Minute)
		m.expect("and then")
	})
}

// A message that could not be sent is sent again later.
func TestNotifyRetries(t *testing.T) {
	name := socketIn(t)
	m := newManager(t, name, 0)
	must(t, os.Rename(name, name+".gone"))
	m.managed(agent.Config{Source: newFakeVault(snapshot(1))}, func(*agent.Engine, chan<- func()) {
		m.expect("while it is gone")
		must(t, os.Rename(name+".gone", name))
		time.Sleep(10 * time.Second)
		m.expect("later", "EXTEND_TIMEOUT_USEC=30000000", "READY=1|STATUS=1 value, fresh")
	})
}
