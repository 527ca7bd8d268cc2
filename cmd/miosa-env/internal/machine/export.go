package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/inject/envfile"
	"github.com/Miosa-osa/miosa-env/inject/output"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// Export returns the command export.
func Export(p *program.Program) *cobra.Command {
	f, to := &selection{}, &exportFile{}
	format := envfile.Shell
	c := &cobra.Command{
		Use:   "export [FLAG...]",
		Short: "Print the bound values, or write them to a file: for a shell, as dotenv, JSON and more",
		Long: `Prints the values bound to this sandbox or computer, sorted by name, or writes them
to a file in memory.

  shell    export NAME='value' lines, exact in every POSIX shell; nothing in a value is run
  dotenv   NAME=value lines that readers of .env files agree on
  json     one object of strings
  systemd  NAME="value" lines for EnvironmentFile=
  docker   NAME=value lines for docker run --env-file, which takes them as they are
  files    a directory with one file per value; with --output only

Bindings that run would refuse are refused here too. Nothing is printed unless
everything can be: a value that a format has no spelling for is an error.

A binding without a value or placeholder is taken from our own environment, where the
platform has set its variable.

With --output the file is written whole or not at all, with mode 0600 from its first
byte, and renamed over the one that is there. It stays until somebody removes it, and
isn't kept fresh: that is what miosa-env agent does.`,
		Example: `  eval "$(miosa-env export)"
  values=$(miosa-env export) && eval "$values"    # stops where the export failed
  miosa-env export --format dotenv --only 'DB_*' --output /run/app.env
  miosa-env export --format json | jq -r .DB_URL`,
		Args: cli.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := to.check(c, format); err != nil {
				return err
			}
			if err := p.Begin(c); err != nil {
				return err
			}
			s, err := Values(c.Context(), p)
			if err != nil {
				return err
			}
			defer s.Wipe()
			e := f.environment()
			e.Bound, e.Inherited, e.Pristine = s.Bound, p.Environ, true
			built, err := e.Build()
			if err != nil {
				return err
			}
			warn(p.Log, built.Warnings)
			if to.path != "" {
				return to.write(format, built.Bound, f.allow)
			}
			return envfile.Encode(p.Stdout, format, built.Bound)
		},
	}
	c.Flags().SortFlags = false
	c.Flags().Var(setting.Choice(&format, output.Formats), "format", "`FORMAT` shell, dotenv, json, systemd, docker or files")
	to.addFlags(c.Flags())
	f.addFlags(c.Flags())
	p.AddFlags(c.Flags(), "export")
	return c
}

// exportFile says which file is written, if any, and what it may be like.
type exportFile struct {
	path        string
	mode        fs.FileMode
	allowDisk   bool
	allowShared bool
}

func (e *exportFile) addFlags(f *pflag.FlagSet) {
	e.mode = 0o600
	f.StringVar(&e.path, "output", "", "`FILE` write to this file instead of standard output; its directory must be there")
	f.Var(setting.Mode(&e.mode), "mode", "`MODE` the file's permissions; none for everyone")
	f.BoolVar(&e.allowDisk, "allow-disk", false, "let the file be elsewhere than in memory")
	f.BoolVar(&e.allowShared, "allow-shared", false, "let its directory be one that others may write to, as the emptyDir of a Kubernetes pod is")
}

// check refuses what doesn't go together, and makes the path absolute.
func (e *exportFile) check(c *cobra.Command, format string) error {
	if e.path == "" {
		switch {
		case c.Flags().Changed("output"):
			return cli.UsageOf(c, errors.New("--output: the file's name is empty"))
		case format == output.Files:
			return cli.UsageOf(c, errors.New("--format files makes a directory: name it with --output"))
		}
		for _, name := range []string{"mode", "allow-disk", "allow-shared"} {
			if c.Flags().Changed(name) {
				return cli.UsageOf(c, errors.New("--"+name+" is about the file of --output, which isn't given"))
			}
		}
		return nil
	}
	if !filepath.IsAbs(e.path) {
		here, err := os.Getwd() // as the shell calls it, which may be by a symlink
		if err == nil {
			here, err = filepath.EvalSymlinks(here)
		}
		if err != nil {
			return fmt.Errorf("--output %s: where is it? %w", e.path, err)
		}
		e.path = filepath.Join(here, e.path)
	}
	e.path = filepath.Clean(e.path)
	if err := e.config(format).Validate(); err != nil {
		return cli.UsageOf(c, err)
	}
	return nil
}

func (e *exportFile) config(format string) output.Config {
	return output.Config{Path: e.path, Format: format, Mode: e.mode, AllowDisk: e.allowDisk, AllowShared: e.allowShared}
}

// write writes values that were selected already.
func (e *exportFile) write(format string, bound []api.Bound, allow []string) error {
	conf := e.config(format)
	conf.AllowNames = allow
	o, err := output.New(conf)
	if err != nil {
		return err
	}
	defer o.Close()
	err = o.Write(api.Snapshot{Bound: bound})
	if unsafe, ok := errors.AsType[*output.Unsafe](err); ok && unsafe.Allow != "" {
		return cli.WithHint(err, unsafe.Fix+", or give --"+strings.ReplaceAll(unsafe.Allow, "_", "-"))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return cli.WithHint(err, "make that directory first")
	}
	return err
}
