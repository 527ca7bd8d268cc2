package postgres

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/database"
)

// listening are the calls of a database.Listener.
type listening struct {
	heard  chan string
	missed chan error
	alive  chan struct{}
}

// listen listens until the test ends, and returns when it does.
func listen(t *testing.T, d *db) *listening {
	t.Helper()
	l := &listening{make(chan string, 1000), make(chan error, 1000), make(chan struct{}, 1000)}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.Listen(ctx, database.Listener{
			Heard:  func(text string) { l.heard <- text },
			Missed: func(reason error) { l.missed <- reason },
			Alive:  func() { l.alive <- struct{}{} },
		})
	}()
	t.Cleanup(func() { stop(); <-ended })
	l.begins(t)
	return l
}

// begins waits until the process listens (again).
func (l *listening) begins(t *testing.T) {
	t.Helper()
	for timeout := time.After(time.Minute); ; {
		select {
		case err := <-l.missed:
			if err == nil {
				return
			}
		case <-timeout:
			t.Fatal("doesn't listen")
		}
	}
}

// fails waits until the connection fails.
func (l *listening) fails(t *testing.T) error {
	t.Helper()
	select {
	case err := <-l.missed:
		if err == nil {
			t.Fatal("a new connection before the old one has failed")
		}
		return err
	case <-time.After(time.Minute):
		t.Fatal("doesn't notice that the connection is lost")
		return nil
	}
}

// lives waits until the connection has proven that it works.
func (l *listening) lives(t *testing.T) {
	t.Helper()
	select {
	case <-l.alive:
	case <-time.After(time.Minute):
		t.Fatal("no heartbeat")
	}
}

// hears compares what is heard next.
func (l *listening) hears(t *testing.T, want ...string) {
	t.Helper()
	for i := range want {
		select {
		case got := <-l.heard:
			if diff := cmp.Diff(want[i], got); diff != "" {
				t.Fatalf("heard (-got +want)\n%s", diff)
			}
		case <-time.After(time.Minute):
			t.Fatalf("not heard: %s", want[i])
		}
	}
}

func announce(t *testing.T, d *db, text string, result error) {
	t.Helper()
	err := d.Write(t.Context(), func(tx database.Tx) error {
		if err := d.Announce(tx, text); err != nil {
			return err
		}
		return result
	})
	if !errors.Is(err, result) {
		t.Fatal(err)
	}
}

// listener is the server's process of the listening connection of a schema.
func listener(t *testing.T, d *db) int {
	t.Helper()
	var pid int
	poll.Until(t, time.Minute, "one listening connection", func() bool {
		return d.Read(t.Context(), func(tx database.Tx) error {
			return tx.QueryRow(`SELECT pid FROM pg_stat_activity WHERE application_name = current_setting('application_name') || ' listening'`).Scan(&pid)
		}) == nil
	})
	return pid
}

// All processes of a schema hear what is committed, in the order of the commits, and nothing else.
func TestListen(t *testing.T) {
	url := postgrestest.Start(t)
	d, other, stranger := openDB(t, url), openDB(t, url), openDB(t, postgrestest.Start(t))
	here, there, elsewhere := listen(t, d), listen(t, other), listen(t, stranger)
	want := []string{"first"}
	announce(t, d, "first", nil)
	announce(t, other, "undone", errors.New("undone"))
	for i := range 100 {
		text := strconv.Itoa(i)
		announce(t, []*db{d, other}[i%2], text, nil)
		want = append(want, text)
	}
	longest := strings.Repeat("x", database.MaxAnnouncement)
	announce(t, other, longest, nil)
	announce(t, stranger, "in another schema", nil)
	announce(t, d, "last", nil)
	want = append(want, longest, "last")
	here.hears(t, want...)
	there.hears(t, want...)
	elsewhere.hears(t, "in another schema")
}

// A connection that is lost is replaced, and Missed says so.
func TestListenAgain(t *testing.T) {
	defer func(d time.Duration) { heartbeat = d }(heartbeat)
	heartbeat = 500 * time.Millisecond
	for _, tt := range []struct {
		name string
		lose func(t *testing.T, d *db, pid int)
		want func(error) bool
	}{
		{"ended by the server", func(t *testing.T, d *db, pid int) {
			if err := d.Read(t.Context(), func(tx database.Tx) error { return tx.Exec(`SELECT pg_terminate_backend($1)`, pid) }); err != nil {
				t.Fatal(err)
			}
		}, func(err error) bool { return code(err) == "57P01" }},
		{"silent", func(t *testing.T, _ *db, pid int) {
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
		}, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := "test " + tt.name
			d := openDB(t, postgrestest.Start(t)+"&application_name="+strings.ReplaceAll(name, " ", "%20"))
			l := listen(t, d)
			l.lives(t)
			tt.lose(t, d, listener(t, d))
			if err := l.fails(t); !tt.want(err) {
				t.Errorf("failed with %v", err)
			}
			l.begins(t)
			announce(t, d, "again", nil)
			l.hears(t, "again")
			l.lives(t)
		})
	}
}
