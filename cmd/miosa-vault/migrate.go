package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/vault/database"
	"github.com/Miosa-osa/miosa-env/vault/store"
	"github.com/Miosa-osa/miosa-env/vault/transfer"
)

// migrateFlags are the flags of migrate.
type migrateFlags struct {
	from, fromFile string
	to, toFile     string
	rootKeyFile    string
	shared         bool
	keepAltered    bool
}

func (p *program) migrate() *cli.Command {
	var f migrateFlags
	return &cli.Command{
		Use:   "migrate --from DIR|URL --to DIR|URL",
		Short: "Copy a vault's database between SQLite and PostgreSQL",
		Long: `Copy the database of a stopped vault to a new one: from SQLite to PostgreSQL, back, or between two of
the same kind. Everything or nothing is copied: the copy is verified with the root key before it is
committed, and a killed command leaves the target unchanged. The source is not changed.

While the command runs, no vault can open either database, and a source that a vault has open is
refused, because the copy would lack later changes. Start no vault on the source afterwards.

A database is a directory for SQLite, or a URL without a password for PostgreSQL. --from-file and
--to-file name files that contain a URL. One of the two databases may also come from ` + databaseEnv + `, or the systemd credential
` + databaseCredential + `.

Only the database is copied. Keep the root key, and copy the file revocations of the old data directory to the new ones.`,
		Example: `  miosa-vault migrate --from /var/lib/miosa-vault --to postgres://vault@db.example.com/vault --root-key-file /etc/miosa/root.key
  miosa-vault migrate --from-file /etc/miosa/database.url --to /var/lib/miosa-vault --root-key-file /etc/miosa/root.key`,
		Flags: func(flags *pflag.FlagSet) {
			flags.StringVar(&f.from, "from", "", "`DIR|URL` the database to copy: the directory of a SQLite database, or the URL of a PostgreSQL database")
			flags.StringVar(&f.fromFile, "from-file", "", "`FILE` contains the URL of the database to copy")
			flags.StringVar(&f.to, "to", "", "`DIR|URL` the new database, as --from; a directory is created, 0700, when it is missing")
			flags.StringVar(&f.toFile, "to-file", "", "`FILE` contains the URL of the new database")
			addRootKey(flags, &f.rootKeyFile, &f.shared)
			flags.BoolVar(&f.keepAltered, "keep-altered", false,
				"copy also rows and audit logs that were altered outside of the vault, which refuses or reports them in the copy too")
		},
		Run: func(ctx context.Context, _ *cli.Invocation) error { return f.run(ctx, p) },
	}
}

func (f *migrateFlags) run(ctx context.Context, p *program) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	fromGiven, toGiven := f.from != "" || f.fromFile != "", f.to != "" || f.toFile != ""
	from, err := endOf(p, databaseFlags{"from", f.from, f.fromFile, !fromGiven && toGiven})
	if err != nil {
		return err
	}
	to, err := endOf(p, databaseFlags{"to", f.to, f.toFile, fromGiven && !toGiven})
	if err != nil {
		return err
	}
	none := transfer.End{}
	switch {
	case from == none:
		return usage("--from is required", "name the directory or the URL of the database to copy")
	case to == none:
		return usage("--to is required", "name the directory or the URL of the new database")
	}
	root, err := p.rootKey(f.rootKeyFile)
	if err != nil {
		return err
	}
	r := progressReport{to: p, terminal: onTerminal(p)}
	err = transfer.Run(ctx, transfer.Config{
		From: from, To: to, RootKey: root, Shared: f.shared, KeepAltered: f.keepAltered,
		Progress: r.report,
		Altered:  func(a store.Alteration) { r.line("altered: " + a.Problem) },
	})
	r.end()
	if err != nil {
		return withMigrateHint(err)
	}
	fmt.Fprintln(p.stderr, "migrated: start the vaults on the new database, and none on the old one")
	return nil
}

// connectionString matches the beginning of a URL or a list of keywords.
var connectionString = regexp.MustCompile(`^(postgres(ql)?://|\w+\s*=)`)

// endOf returns the database that flags name; zero: they name none.
func endOf(p *program, f databaseFlags) (transfer.End, error) {
	if f.url != "" && f.file == "" && !connectionString.MatchString(f.url) {
		return transfer.End{Dir: filepath.Clean(f.url)}, nil
	}
	url, err := f.find(p)
	return transfer.End{URL: url}, err
}

func withMigrateHint(err error) error {
	var altered *store.Alteration
	switch {
	case errors.Is(err, database.ErrInUse):
		return cli.WithHint(err, "stop all vaults on it, and the commands keys and audit")
	case errors.Is(err, database.ErrNotEmpty):
		return cli.WithHint(err, "name a directory without a database, or a URL whose schema has no vault, as with ?search_path=NAME")
	case errors.Is(err, database.ErrMissing):
		return cli.WithHint(err, "check --from")
	case errors.As(err, &altered):
		return cli.WithHint(err, "remove what was altered, or copy it as it is with --keep-altered")
	}
	return withStoreHint(err)
}

func onTerminal(p *program) bool {
	f, ok := p.stderr.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// progressReport writes progress to stderr: a line for each table, and on a terminal also one that changes while a table is copied.
// Elsewhere there is a line now and then for a long table.
type progressReport struct {
	to       *program
	terminal bool
	open     bool // the line isn't ended
	last     time.Time
}

func (r *progressReport) report(p transfer.Progress) {
	pause := 10 * time.Second
	if r.terminal {
		pause = 200 * time.Millisecond
	}
	if !p.Ended && time.Since(r.last) < pause {
		return
	}
	r.last = time.Now()
	text := fmt.Sprintf("%s %s: %d rows", p.Step, p.Table, p.Done)
	if p.Rows > 0 {
		text = fmt.Sprintf("%s %s: %d of %d rows", p.Step, p.Table, p.Done, p.Rows)
	} else if !p.Ended {
		text += " so far"
	}
	if r.terminal {
		fmt.Fprintf(r.to.stderr, "\r\x1b[K%s", text)
		r.open = true
		if p.Ended {
			r.end()
		}
		return
	}
	r.line(text)
}

// line writes a line of its own.
func (r *progressReport) line(text string) {
	r.end()
	fmt.Fprintln(r.to.stderr, text)
}

// end ends the line that changes.
func (r *progressReport) end() {
	if r.open {
		fmt.Fprintln(r.to.stderr)
	}
	r.open = false
}
