package inject

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
)

// Output keeps bound values as a file, or as a directory of files, that others read. It is written
// whole or not at all: in each moment readers find the old set or the new one.
//
// Its directory must be reachable without symlinks, through parents that nobody else can change, and be
// in memory unless the configuration allows disks. All methods are for any goroutine.
type Output struct {
	conf     OutputConfig
	uid, gid int // -1: as it comes
	hooks    hooks
	counts   outputCounts

	mu       sync.Mutex       // guards the fields below, and the path
	standing bool             // the set of written was written, or found, by this process
	written  Fingerprint      // of that set
	traces   map[string]trace // of that set
	stamps   map[string]stamp // what was written, by name in the directory: how it looks if nobody touches it
	swept    bool             // what a killed run left behind is gone
}

// NewOutput returns an output that is not written yet. Close it in the end.
//
// Errors: those of OutputConfig.Validate.
func NewOutput(c OutputConfig) (*Output, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	uid, _ := userID(c.Owner)
	gid, _ := groupID(c.Group)
	ctx, cancel := context.WithCancel(context.Background())
	return &Output{conf: c, uid: uid, gid: gid, hooks: hooks{context: ctx, cancel: cancel}}, nil
}

// Name is the output's path.
func (o *Output) Name() string { return o.conf.Path }

// Keep tells whether the output stays when the daemon stops.
func (o *Output) Keep() bool { return o.conf.Keep }

// outputCounts is read while a Write is under way.
type outputCounts struct{ variables, writes atomic.Int64 }

// Counts tells how many variables the output holds, how often its content was written, how many runs of the hook
// have ended, and how many of these failed or were killed.
func (o *Output) Counts() (variables int, writes, hooks, failures int64) {
	return int(o.counts.variables.Load()), o.counts.writes.Load(), o.hooks.runs.Load(), o.hooks.failures.Load()
}

// Close ends a hook that runs, and waits for it. What is written stays.
func (o *Output) Close() { o.hooks.close() }

// Write makes the output hold a snapshot, and starts the hook where that changed something, or where an earlier
// run was cut off before its hook had run. Nothing is rewritten that is there already, from an earlier run
// too. After an error the last good content stands. The snapshot isn't used any more once Write returns, by
// the hook neither.
//
// Errors: *Refused for names that bindings must not set, *NotProvided for what the platform should have set
// in our own environment, *CantCarry for values that the format has no
// spelling for, *Unsafe for a path that must not be written to, each of them once it is mended; and
// those of the system, with the path.
func (o *Output) Write(s api.Snapshot) error {
	bound, warnings, err := o.selected(s)
	if err != nil {
		return err
	}
	built := Built{Bound: bound}
	wanted := built.Fingerprint()

	o.mu.Lock()
	defer o.mu.Unlock()
	if o.standing && o.written == wanted {
		if intact, _ := o.check(); intact {
			return nil
		}
	}
	write := o.writeFile
	if o.conf.Format == FormatFiles {
		write = o.writeFiles
	}
	if o.conf.Hook != "" {
		defer o.hooks.settle()
		o.hooks.expect(hashesOf(o.conf.Format, bound))
	}
	stamps, changed, err := write(bound)
	if err != nil {
		return err
	}
	first, before := !o.standing, o.traces
	o.standing, o.written, o.traces, o.stamps = true, wanted, built.traces(), stamps
	o.counts.variables.Store(int64(len(bound)))
	if changed {
		o.counts.writes.Add(1)
		for _, w := range warnings {
			o.conf.Log.Warn().Str("output", o.conf.Path).Str("kind", string(w.Kind)).Str("name", w.Name).Msg("output may not be as intended")
		}
		o.conf.Log.Info().Any("changes", changesOf(before, o.traces)).
			Str("output", o.conf.Path).Int("bindings", len(bound)).Msg("output written")
	}
	switch {
	case o.conf.Hook == "":
	case changed || first && o.owed():
		o.hooks.start(o.conf, o.traces, o.paid)
	default:
		o.hooks.skip(o.traces)
	}
	return nil
}

// selected returns the bindings of a snapshot that are for this output, under their final names.
func (o *Output) selected(s api.Snapshot) ([]api.Bound, []Warning, error) {
	bound, warnings, err := Environment{Inherited: o.conf.Inherited, Bound: s.Bound, Only: o.conf.Only, Prefix: o.conf.Prefix}.selected()
	if err != nil {
		return nil, nil, err
	}
	absent := &NotProvided{}
	for i := range bound {
		if notProvided(&bound[i]) {
			absent.add(&bound[i], o.conf.Prefix)
		}
	}
	if len(absent.Bindings) > 0 {
		return nil, nil, absent
	}
	problems, named := guard(bound, o.conf.AllowNames)
	if len(problems) == 0 {
		return bound, slices.Concat(warnings, named, platformWarnings(bound)), nil
	}
	for _, p := range problems {
		if p.Allow != "" {
			p.Allow = fmt.Sprintf("allow_names = [%q]", p.Name)
		}
	}
	return nil, nil, &Refused{problems}
}

// Check tells whether the output is as Write left it: neither gone, replaced, edited nor given to
// somebody else. It reads no values. Before the first Write nothing is.
//
// Errors: *Unsafe, and those of the system.
func (o *Output) Check() (intact bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.check()
}

func (o *Output) check() (bool, error) {
	if !o.standing {
		return false, nil
	}
	at, err := o.conf.open(path.Dir(o.conf.Path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	}
	defer at.close()
	for name, want := range o.stamps {
		st, err := at.stat(name)
		switch {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
			return false, nil
		case err != nil:
			return false, &fs.PathError{Op: "stat", Path: path.Join(at.path, name), Err: err}
		case stampOf(st) != want && stampOf(st).lasting() != want:
			return false, nil
		}
	}
	return true, nil
}

// Remove takes the output away, whoever wrote it, and what killed runs left behind. Of FormatFiles the
// empty directory stays. Removing what isn't there is no error.
//
// Errors: *Unsafe, and those of the system.
func (o *Output) Remove() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.standing, o.stamps, o.traces = false, nil, nil
	o.hooks.skip(nil)
	o.counts.variables.Store(0)
	at, err := o.conf.open(path.Dir(o.conf.Path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	defer at.close()
	if o.conf.Format == FormatFiles {
		return o.removeFiles(at)
	}
	o.swept = false
	return errors.Join(at.unlink(path.Base(o.conf.Path)), at.unlink(o.owedName()), o.sweepFile(at), at.sync())
}

// stamp is how a file looks from outside. A change to its content or to whom it belongs shows in the
// time of its last change, which nobody can set, and which goes on in steps of some milliseconds.
type stamp struct {
	dev, ino       uint64
	links          uint64
	size           int64
	mode, uid, gid uint32
	mtime, ctime   unix.Timespec
}

func stampOf(st unix.Stat_t) stamp {
	links := uint64(st.Nlink) //nolint:unconvert // on arm64 it has 32 bits
	return stamp{dev: st.Dev, ino: st.Ino, links: links, size: st.Size, mode: st.Mode, uid: st.Uid, gid: st.Gid, mtime: st.Mtim, ctime: st.Ctim}
}

// lasting is what of a directory doesn't change with what is put into it.
func (s stamp) lasting() stamp {
	s.links, s.size, s.mtime, s.ctime = 0, 0, unix.Timespec{}, unix.Timespec{}
	return s
}

func randomName(start string) string {
	return start + tempMark + strings.ToLower(rand.Text()[:tempRandom])
}

func isTemporary(name, start string) bool {
	end, ok := strings.CutPrefix(name, start+tempMark)
	return ok && len(end) == tempRandom
}

// create makes a file of the output's mode and owners that holds content and is on its medium, and
// returns its descriptor. Until all that is done nobody but us has access to it, and if it can't be done
// nothing stays.
func (o *Output) create(at *place, name string, content []byte) (fd int, err error) {
	whole := path.Join(at.path, name)
	fd, err = unix.Openat(at.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return -1, o.failed(at, &fs.PathError{Op: "create", Path: whole, Err: err}, len(content))
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
			_ = at.unlink(name)
		}
	}()
	size := len(content)
	for len(content) > 0 {
		n, err := unix.Write(fd, content)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return -1, o.failed(at, &fs.PathError{Op: "write", Path: whole, Err: err}, size)
		}
		content = content[max(n, 0):]
	}
	if err := o.give(fd); err != nil {
		return -1, fmt.Errorf("give %s to its owner: %w", o.conf.Path, err)
	}
	if err := unix.Fchmod(fd, uint32(o.conf.mode())); err != nil {
		return -1, &fs.PathError{Op: "chmod", Path: whole, Err: err}
	}
	if err := unix.Fsync(fd); err != nil {
		return -1, o.failed(at, &fs.PathError{Op: "sync", Path: whole, Err: err}, size)
	}
	return fd, nil
}

// give changes a file's owner and group, as far as they are configured.
func (o *Output) give(fd int) error {
	if o.uid < 0 && o.gid < 0 {
		return nil
	}
	return unix.Fchown(fd, o.uid, o.gid)
}

// failed says it plainly when a file system is full.
func (o *Output) failed(at *place, err error, size int) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%s: its file system is full (%d bytes needed, %d free), the old content stays: %w", o.conf.Path, size, at.free(), err)
	}
	return err
}

// ours tells whether a file has the type, mode and owners that create gives one in a directory.
func (o *Output) ours(st, dir unix.Stat_t) bool {
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	if dir.Mode&unix.S_ISGID != 0 {
		gid = dir.Gid
	}
	if o.uid >= 0 {
		uid = uint32(o.uid)
	}
	if o.gid >= 0 {
		gid = uint32(o.gid)
	}
	return st.Mode == unix.S_IFREG|uint32(o.conf.mode()) && st.Uid == uid && st.Gid == gid && st.Nlink == 1
}

// sortedNames are the names of pairs, in order.
func sortedNames(pairs []api.Bound) []string {
	names := make([]string, len(pairs))
	for i, p := range pairs {
		names[i] = p.ExposeAsEnv
	}
	slices.Sort(names)
	return names
}
