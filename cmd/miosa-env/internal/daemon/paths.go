package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/Miosa-osa/miosa-env/agent/listener"
	"github.com/Miosa-osa/miosa-env/agent/socket"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/inject/output"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/trusted"
)

// checkFile refuses a configuration that another user could change or replace, since its hooks are run.
func checkFile(path string) error {
	if _, err := os.Stat(path); err != nil {
		return cli.FileError("configuration", path, err)
	}
	err := trusted.Check(path)
	if err == nil {
		return nil
	}
	var unsafe *trusted.Error
	if !errors.As(err, &unsafe) {
		return cli.FileError("configuration", path, err)
	}
	what, how := "its directory "+unsafe.Path, "by putting another in its place"
	if unsafe.Self {
		unsafe.Path = path
		what, how = "it", "by it"
	}
	problem := "others may write to " + what + ", and have anything run "
	if unsafe.UID >= 0 {
		problem = fmt.Sprintf("%s belongs to uid %d, who could have anything run ", what, unsafe.UID)
	}
	return cli.WithHint(fmt.Errorf("configuration %s: %s%s", path, problem, how), unsafe.Fix())
}

// checkPaths checks the paths of the socket and the outputs, as starting would.
func (l *loading) checkPaths() {
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
