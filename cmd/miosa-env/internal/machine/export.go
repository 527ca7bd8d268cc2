package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/inject/envfile"
	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/inject/output"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// Export returns the command export.
func Export(p *program.Program) *cli.Command {
	e := environ.Environment{Pristine: true}
	to := exportFile{output.Config{Format: envfile.Shell, Mode: 0o600}}
	return &cli.Command{
		Use:   "export [FLAG...]",
		Short: "Print the bound values, or write them to a file, for a shell, as dotenv, as JSON and more",
		Long: `Prints the values bound to this sandbox or computer, sorted by name, or writes them
to a file in memory.

  shell    export NAME='value' lines for POSIX shells; values are never executed
  dotenv   NAME=value lines that readers of .env files agree on
  json     an object of strings
  systemd  NAME="value" lines for EnvironmentFile=
  docker   NAME=value lines for docker run --env-file
  files    a directory with one file per value; only with --output

Bindings that run would refuse are refused here too. A value that the format cannot
represent is an error, and nothing is printed.

For a binding without a value or placeholder, the platform's variable in the environment
is used.

With --output the file is replaced atomically, and has its mode from the start. It stays until
somebody removes it, and does not follow rotations; use miosa-env agent for that.`,
		Example: `  eval "$(miosa-env export)"
  values=$(miosa-env export) && eval "$values"    # stops where the export failed
  miosa-env export --format dotenv --only 'DB_*' --output /run/app.env
  miosa-env export --format json | jq -r .DB_URL`,
		Flags: func(f *pflag.FlagSet) {
			f.Var(setting.Choice(&to.Format, output.Formats), "format", "`FORMAT` shell, dotenv, json, systemd, docker or files")
			f.StringVar(&to.Path, "output", "", "`FILE` write to this file instead of standard output; its directory must exist")
			f.Var(setting.Mode(&to.Mode), "mode", "`MODE` the file's permissions; no permissions for others")
			f.BoolVar(&to.AllowDisk, "allow-disk", false, "allow a file outside memory")
			f.BoolVar(&to.AllowShared, "allow-shared", false, "allow a directory that others can write to, such as the emptyDir of a Kubernetes pod")
			addSelection(f, &e)
			p.AddFlags(f, "export")
		},
		CompleteFlag: completeFlag(p),
		Run: func(ctx context.Context, inv *cli.Invocation) error {
			if err := to.check(inv); err != nil {
				return err
			}
			if err := p.Begin(inv.Flags); err != nil {
				return err
			}
			s, err := Values(ctx, p)
			if err != nil {
				return err
			}
			defer s.Wipe()
			e.Bound, e.Inherited = s.Bound, p.Environ
			built, err := e.Build()
			if err != nil {
				return markExpired(ctx, p, e.Prefix, err)
			}
			warn(p.Log, built.Warnings)
			if to.Path == "" {
				return envfile.Encode(p.Stdout, to.Format, built.Bound)
			}
			to.RequireOnly, to.AllowNames = e.RequireOnly, e.AllowNames
			return to.write(built.Bound)
		},
	}
}

// exportFile is the file of --output; without a path there is none.
type exportFile struct{ output.Config }

// check checks the flags, and makes the path absolute.
func (to *exportFile) check(inv *cli.Invocation) error {
	if to.Path == "" {
		switch {
		case inv.Flags.Changed("output"):
			return inv.UsageError(errors.New("--output: the file's name is empty"))
		case to.Format == output.Files:
			return inv.UsageError(errors.New("--format files makes a directory: name it with --output"))
		}
		for _, name := range []string{"mode", "allow-disk", "allow-shared"} {
			if inv.Flags.Changed(name) {
				return inv.UsageError(errors.New("--" + name + " is about the file of --output, which isn't given"))
			}
		}
		return nil
	}
	if !filepath.IsAbs(to.Path) {
		here, err := os.Getwd() // may contain symlinks, as in the shell
		if err == nil {
			here, err = filepath.EvalSymlinks(here)
		}
		if err != nil {
			return inv.UsageError(fmt.Errorf("--output %s: where is it? %w", to.Path, err))
		}
		to.Path = filepath.Join(here, to.Path)
	}
	to.Path = filepath.Clean(to.Path)
	if err := to.Validate(); err != nil {
		return inv.UsageError(err)
	}
	return nil
}

// write writes bindings that have been selected.
func (to *exportFile) write(bound []api.Bound) error {
	o, err := output.New(to.Config)
	if err != nil {
		return err
	}
	defer o.Close()
	err = o.Write(api.Snapshot{Bound: bound})
	if unsafe, ok := errors.AsType[*output.Unsafe](err); ok && unsafe.Allow != "" {
		return cli.WithHint(err, unsafe.Fix+", or give --"+strings.ReplaceAll(unsafe.Allow, "_", "-"))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return cli.WithHint(err, "create that directory first")
	}
	return err
}
