package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/Miosa-osa/miosa-env/agent/listener"
	"github.com/Miosa-osa/miosa-env/agent/socket"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/inject/output"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// checkFile refuses a configuration that another user could change or replace, since its hooks are run.
func checkFile(path string) error {
	whole, err := filepath.EvalSymlinks(path)
	if err != nil {
		return program.FileError("configuration", path, err)
	}
	for _, dir := range slices.Compact([]string{filepath.Dir(program.AbsolutePath(path)), filepath.Dir(program.AbsolutePath(whole))}) {
		info, err := os.Stat(dir)
		switch {
		case err != nil:
			return program.FileError("configuration", path, err)
		case info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0:
			return cli.WithHint(fmt.Errorf("configuration %s: others may write to its directory %s, and have anything run by putting another in its place", path, dir), "chmod go-w "+dir)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return program.FileError("configuration", path, err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case ok && st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return cli.WithHint(fmt.Errorf("configuration %s: it belongs to uid %d, who could have anything run by it", path, st.Uid), fmt.Sprintf("chown %d %s", os.Geteuid(), path))
	case info.Mode().Perm()&0o022 != 0:
		return cli.WithHint(fmt.Errorf("configuration %s: others may write to it, and have anything run by it", path), "chmod go-w "+path)
	}
	return nil
}

// look checks the paths of the socket and the outputs, as starting would.
func (l *loading) look() {
	if !l.lost {
		l.blame("socket", listener.CheckPath(l.Socket))
	}
	for i, conf := range l.outputs {
		if conf.Validate() != nil {
			continue // checkOutputs has reported it
		}
		err := conf.Look()
		if errors.Is(err, fs.ErrNotExist) && filepath.Dir(conf.Path) == filepath.Dir(l.Socket) {
			conf.Path = filepath.Dir(conf.Path) // the agent creates it for its socket
			conf.Format = output.Files
			err = conf.Look()
		}
		if err != nil {
			l.report(l.Outputs[i].Problem("path", fmt.Errorf("path: %w", withDirectoryHint(err))))
		}
	}
}

// ownSocket returns the default path of the socket: in RuntimeDirectory= of systemd, or that of root or of the user.
func ownSocket(e program.Environment) (string, error) {
	if first, _, _ := strings.Cut(e.Get("RUNTIME_DIRECTORY"), ":"); first != "" {
		return filepath.Join(first, filepath.Base(socket.DefaultPath)), nil
	}
	return socket.Path(os.Geteuid(), e.Get("XDG_RUNTIME_DIR"))
}
