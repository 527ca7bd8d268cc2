package output

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/envfile"
	"github.com/Miosa-osa/miosa-env/inject/environ"
)

// Output keeps bound values in a file, or in a directory of files, for other programs. It is written completely or not at
// all: readers find either the old set or the new one.
//
// Its directory must be reachable without symlinks, through parents that other users can't change, and be in memory
// unless the configuration allows disks. Methods are safe for concurrent use.
type Output struct {
	conf      Config
	uid, gid  int // -1: unchanged
	hooks     hooks
	variables atomic.Int64
	writes    atomic.Int64

	mu      sync.Mutex       // guards the fields below and the path
	written bool             // this process wrote the set of traces, or found it
	traces  traces           // of the set that is written
	stamps  map[string]stamp // path relative to the output's parent -> its stamp after Write
	swept   bool             // files of killed processes, and of failed writes, have been removed
	failing bool             // the last Write has failed, perhaps after it had changed the content
}

// New returns an output that isn't written yet. Call Close when done.
//
// Errors: those of Config.Validate.
func New(c Config) (*Output, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	uid, _ := idOf("user", c.Owner)
	gid, _ := idOf("group", c.Group)
	ctx, cancel := context.WithCancel(context.Background())
	return &Output{conf: c, uid: uid, gid: gid, hooks: hooks{conf: c, context: ctx, cancel: cancel}}, nil
}

// Name returns the output's path.
func (o *Output) Name() string { return o.conf.Path }

// Keep reports whether the output stays when the daemon stops.
func (o *Output) Keep() bool { return o.conf.Keep }

// Counts returns the number of variables in the output, of writes, of hooks that have ended, and of those that failed or
// were killed. It doesn't wait for a Write.
func (o *Output) Counts() (variables int, writes, hooks, failures int64) {
	return int(o.variables.Load()), o.writes.Load(), o.hooks.runs.Load(), o.hooks.failures.Load()
}

// Close kills a running hook and waits for it. The output stays.
func (o *Output) Close() { o.hooks.close() }

// Write writes a snapshot to the output. It starts the hook if that changed something, or if an earlier process was killed, or an
// earlier Write failed, before the hook had run. Content that is already there, also from an earlier process, isn't rewritten. After an error
// the previous content stays. Neither Write nor the hook uses the snapshot after Write returns.
//
// Errors: *environ.Refused for names that bindings must not set, *environ.NotProvided for variables that the platform
// should have set, *envfile.CantCarry for values that the format can't represent, *Unsafe for a path that must not be
// written to; and those of the system, with the path.
func (o *Output) Write(s api.Snapshot) error {
	bound, warnings, err := o.bindings(s)
	if err != nil {
		return err
	}
	wanted := tracesOf(bound)

	o.mu.Lock()
	defer o.mu.Unlock()
	if o.written && o.traces.equal(wanted) {
		if intact, _ := o.check(); intact {
			o.failing = false
			return nil
		}
	}
	if o.conf.Hook != "" {
		defer o.hooks.settle()
		o.hooks.expect(hashesOf(o.conf.Format, bound))
	}
	var stamps map[string]stamp
	changed := false
	if o.conf.Format == Files {
		stamps, changed, err = o.writeFiles(bound)
	} else {
		err = envfile.Use(o.conf.Format, bound, func(text []byte) (err error) {
			stamps, changed, err = o.writeFile(text)
			return err
		})
	}
	if err != nil {
		o.failing, o.swept = true, false
		return err
	}
	unsure, before := !o.written || o.failing, o.traces
	o.written, o.failing, o.traces, o.stamps = true, false, wanted, stamps
	o.variables.Store(int64(len(bound)))
	if changed {
		o.writes.Add(1)
		for _, w := range warnings {
			o.conf.Log.Warn().Str("output", o.conf.Path).Str("kind", w.Kind).Str("name", w.Name).Msg("output may not be as intended")
		}
		o.conf.Log.Info().Any("changes", before.changes(wanted)).
			Str("output", o.conf.Path).Int("bindings", len(bound)).Msg("output written")
	}
	switch {
	case o.conf.Hook == "":
	case changed || unsure && o.pending():
		o.hooks.start(wanted, o.clearPending)
	default:
		o.hooks.skip(wanted)
	}
	return nil
}

// bindings returns the bindings of a snapshot that are for this output, with final names.
func (o *Output) bindings(s api.Snapshot) ([]api.Bound, []environ.Warning, error) {
	c := &o.conf
	bound, warnings, err := environ.Environment{Inherited: c.Inherited, Bound: s.Bound, Only: c.Only, Prefix: c.Prefix, RequireOnly: c.RequireOnly, AllowNames: c.AllowNames}.Bindings()
	if refused, ok := errors.AsType[*environ.Refused](err); ok {
		for _, p := range refused.Problems {
			switch {
			case p.Unlisted:
				p.Reason, p.Allow = "is refused: require_only doesn't list it", ""
			case p.Allow != "":
				p.Allow = fmt.Sprintf("allow_names = [%q]", p.Name)
			}
		}
	}
	return bound, warnings, err
}

// Check reports whether the output is unchanged since Write: not removed, replaced, edited or given to another owner. It
// reads no values. Before the first Write it returns false.
//
// Errors: *Unsafe, and those of the system.
func (o *Output) Check() (intact bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.check()
}

func (o *Output) check() (bool, error) {
	if !o.written {
		return false, nil
	}
	d, err := o.conf.open(path.Dir(o.conf.Path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	}
	defer d.close()
	for name, want := range o.stamps {
		st, err := d.stat(name)
		switch {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
			return false, nil
		case err != nil:
			return false, err
		case stampOf(st) != want && stampOf(st).withoutContent() != want:
			return false, nil
		}
	}
	return true, nil
}

// Remove removes the output, even if another process wrote it, and what killed processes left. With Files the empty
// directory stays. It is no error if nothing exists.
//
// Errors: *Unsafe, and those of the system.
func (o *Output) Remove() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.written, o.failing, o.stamps, o.traces = false, false, nil, nil
	o.hooks.skip(nil)
	o.variables.Store(0)
	d, err := o.valuesDirectory()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	defer d.close()
	if o.conf.Format == Files {
		return o.removeFiles(d)
	}
	o.swept = false
	return errors.Join(d.unlink(path.Base(o.conf.Path)), d.unlink(o.pendingName()), o.sweepFile(d), d.sync())
}
