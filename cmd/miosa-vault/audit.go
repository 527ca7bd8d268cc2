package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

const exitAltered = 3 // audit verify has found a change

func (p *program) audit() *cli.Command {
	return &cli.Command{
		Use:   "audit",
		Short: "Verify, export and prune the audit logs",
		Long: `Verify, export and prune the audit logs. The commands work on the database directly, whether or not a
vault is running on it.`,
		Commands: []*cli.Command{p.auditHead(), p.auditVerify(), p.auditExport(), p.auditPrune()},
	}
}

// tenantFlags choose the store and one or all tenants.
type tenantFlags struct {
	storeFlags
	tenant string
}

func (f *tenantFlags) add(flags *pflag.FlagSet, which string) {
	f.storeFlags.add(flags, createsNone)
	flags.StringVar(&f.tenant, "tenant", "", "`NAME` the tenant "+which)
}

// each calls do for the tenant of the flags, or for all.
func (f *tenantFlags) each(ctx context.Context, p *program, do func(s *store.Store, name string, a store.Actor) error) error {
	return f.with(ctx, p, func(s *store.Store) error {
		names := []string{f.tenant}
		if f.tenant == "" {
			var err error
			if names, err = s.TenantNames(ctx); err != nil {
				return err
			}
		}
		var problems []error
		for _, name := range names {
			a, err := s.LocalActor(ctx, name)
			if errors.Is(err, api.ErrNotFound) {
				return cli.WithHint(err, nearTenant(ctx, s, name)+"miosa-vault audit head shows the tenants")
			}
			if err == nil {
				err = do(s, name, a)
			}
			problems = append(problems, err)
		}
		return errors.Join(problems...)
	})
}

// namedHead is a line of audit head.
type namedHead struct {
	Tenant string `json:"tenant"`
	api.AuditHead
}

func (p *program) auditHead() *cli.Command {
	var f tenantFlags
	return &cli.Command{
		Use:   "head [--tenant NAME]",
		Short: "Print the newest event's number and hash",
		Long: `Print the number and hash of the newest event, as a line of JSON for each tenant. Store them elsewhere:
with them, audit verify --head detects changed or removed earlier events even if someone replaced the
whole data directory.

The tenant ` + store.OwnTenant + ` is the vault itself, whose log has the uses of unknown keys.`,
		Flags: func(flags *pflag.FlagSet) { f.add(flags, "(default: all)") },
		Run: func(ctx context.Context, _ *cli.Invocation) error {
			out := json.NewEncoder(p.stdout)
			return f.each(ctx, p, func(s *store.Store, name string, a store.Actor) error {
				head, err := s.AuditHead(ctx, a)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				return out.Encode(namedHead{name, head})
			})
		},
	}
}

func (p *program) auditVerify() *cli.Command {
	var f tenantFlags
	var head, file string
	return &cli.Command{
		Use:   "verify [--tenant NAME] [--head FILE|HASH] [--file EXPORT]",
		Short: "Verify that no event was changed, removed or inserted",
		Long: `Verify that no event was changed, removed or inserted outside of the vault, and that the log ends with
the event that the vault wrote last. With --head, the log must also contain a head that was printed
earlier. With --file it verifies an export, without a data directory.

Exit codes: 0 the logs are as the vault wrote them, 1 they could not be verified, 2 wrong usage,
3 a log was changed.`,
		Flags: func(flags *pflag.FlagSet) {
			f.add(flags, "(default: all)")
			flags.StringVar(&head, "head", "", "`FILE|HASH` a file with lines of audit head, or one hash")
			flags.StringVar(&file, "file", "", "`EXPORT` verify a file of audit export instead")
		},
		Run: func(ctx context.Context, _ *cli.Invocation) error {
			known, err := readHeads(head)
			if err != nil {
				return err
			}
			if file != "" {
				return p.verifyExport(file, known)
			}
			if known[""] != nil && f.tenant == "" {
				return usage("--head HASH needs --tenant", "name the tenant whose head it is, or give a file of audit head")
			}
			missing := maps.Clone(known)
			delete(missing, "")
			err = f.each(ctx, p, func(s *store.Store, name string, a store.Actor) error {
				delete(missing, a.TenantID)
				if known != nil && f.tenant != "" && known.of(a.TenantID) == nil {
					return noHead(name)
				}
				return p.verify(ctx, s, name, a, known)
			})
			if err == nil && f.tenant == "" {
				for _, id := range slices.Sorted(maps.Keys(missing)) {
					err = errors.Join(err, alteredError{errors.New("the vault has no tenant " + id + ", of which --head has a head")})
				}
			}
			return err
		},
	}
}

// heads are stored heads by tenant id; "": of any tenant.
type heads map[string]*api.AuditHead

func (h heads) of(tenant string) *api.AuditHead {
	if known := h[""]; known != nil {
		return known
	}
	return h[tenant]
}

var hexHash = regexp.MustCompile(`^[0-9a-f]{64}$`)

// readHeads reads the value of --head: a hash, or a file of lines of JSON, which may be under "data" as in the API.
func readHeads(given string) (heads, error) {
	switch {
	case given == "":
		return nil, nil
	case hexHash.MatchString(given):
		return heads{"": {Hash: given}}, nil
	}
	text, err := os.ReadFile(given)
	if err != nil {
		return nil, cli.WithHint(err, "--head takes a file of audit head, or a hash of 64 hex digits")
	}
	known := heads{}
	for lines := json.NewDecoder(bytes.NewReader(text)); ; {
		var line struct {
			api.AuditHead
			Data *api.AuditHead `json:"data"`
		}
		err := lines.Decode(&line)
		if errors.Is(err, io.EOF) && len(known) > 0 {
			return known, nil
		}
		if line.Data != nil {
			line.AuditHead = *line.Data
		}
		if err != nil || line.TenantID == "" || line.Seq > 0 && !hexHash.MatchString(line.Hash) {
			return nil, cli.WithHint(errors.New(given+" is no file of audit head"), "give a file that miosa-vault audit head has written, or a hash")
		}
		known[line.TenantID] = &line.AuditHead
	}
}

// noHead is the error of a log whose head isn't in the file of --head.
func noHead(log string) error {
	return cli.WithHint(errors.New("--head has no head of "+log), "give the file of audit head that has its tenant's line, or leave out --head")
}

// verifyPage is how many events are verified in one transaction.
const verifyPage = 1000

func (p *program) verify(ctx context.Context, s *store.Store, name string, a store.Actor, known heads) error {
	v := &audit.Verifier{Stored: known.of(a.TenantID)}
	for events, removed := int64(0), int64(0); ; {
		check, err := s.VerifyAudit(ctx, a, v, verifyPage)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		events, removed = events+check.Checked, removed+check.Removed
		if check.Problem != nil {
			return altered(name, check.Problem)
		}
		if check.Complete {
			fmt.Fprintf(p.stdout, "%s: verified %d events up to number %d%s\n", name, events, check.Seq, without(removed))
			return nil
		}
	}
}

func (p *program) verifyExport(path string, known heads) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	head, check, err := audit.VerifyExport(bufio.NewReaderSize(f, 1<<16), known.of)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if check.Problem != nil {
		return altered(path, check.Problem)
	}
	if check.Checked == 0 {
		return cli.WithHint(errors.New(path+" contains no events"), "give a file that miosa-vault audit export has written")
	}
	if known != nil && known.of(head.TenantID) == nil {
		return noHead(path)
	}
	fmt.Fprintf(p.stdout, "%s: verified %d events, numbers %d to %d%s; the last hash is %s\n", path, check.Checked, head.Pruned+1, check.Seq,
		without(check.Removed), head.Hash)
	return nil
}

// without says how many requests aren't among verified events.
func without(removed int64) string {
	if removed == 0 {
		return ""
	}
	return fmt.Sprintf(", without %d outgoing requests that retention has removed", removed)
}

// alteredError is a problem of a log. It has an exit code of its own.
type alteredError struct{ error }

func (alteredError) ExitCode() int { return exitAltered }

func altered(what string, problem *api.AuditProblem) error {
	id := ""
	if problem.EventID != "" {
		id = " (" + problem.EventID + ")"
	}
	if problem.Kind == audit.KindPruned {
		return fmt.Errorf("%s: %s", what, problem.Message)
	}
	return cli.WithHint(alteredError{fmt.Errorf("%s: event %d%s: %s: %s", what, problem.Seq, id, problem.Kind, problem.Message)},
		"docs/security.md, Audit, says what each problem means; keep a copy of the data directory")
}

func (p *program) auditExport() *cli.Command {
	var f tenantFlags
	return &cli.Command{
		Use:   "export --tenant NAME",
		Short: "Print all events of a tenant as lines of JSON",
		Long: `Print all events of a tenant as lines of JSON, oldest first, with their hashes. audit verify --file
verifies them. The number of the last event is printed on standard error, for audit prune.`,
		Flags: func(flags *pflag.FlagSet) { f.add(flags, "(required)") },
		Run: func(ctx context.Context, _ *cli.Invocation) error {
			if f.tenant == "" {
				return usage("--tenant is required", "name the tenant, as in --tenant acme")
			}
			return f.each(ctx, p, func(s *store.Store, _ string, a store.Actor) error {
				lines := bufio.NewWriterSize(p.stdout, 1<<16)
				out := json.NewEncoder(lines)
				out.SetEscapeHTML(false)
				last := int64(0)
				err := s.AuditLogs().Export(ctx, a.TenantID, func(e audit.ExportedEvent) error {
					last = e.Seq
					return out.Encode(e)
				})
				if err = errors.Join(err, lines.Flush()); err == nil {
					fmt.Fprintln(p.stderr, "exported through:", last)
				}
				return err
			})
		},
	}
}

func (p *program) auditPrune() *cli.Command {
	var f tenantFlags
	var through string
	return &cli.Command{
		Use:   "prune --tenant NAME --through NUMBER",
		Short: "Remove the oldest events of a tenant",
		Long: `Remove the oldest events of a tenant, up to a number such as the one printed by audit export. The newest
event always stays. The remaining events can still be verified; an event audit.prune states what was
removed.`,
		Flags: func(flags *pflag.FlagSet) {
			f.add(flags, "(required)")
			flags.StringVar(&through, "through", "", "`NUMBER` the number, seq, of the last event to remove (required)")
		},
		Run: func(ctx context.Context, _ *cli.Invocation) error {
			number, err := strconv.ParseInt(strings.TrimSpace(through), 10, 64)
			switch {
			case f.tenant == "":
				return usage("--tenant is required", "name the tenant, as in --tenant acme")
			case through == "":
				return usage("--through is required", "audit export prints the number of the last event")
			case err != nil || number < 1:
				return usage("--through "+cli.Quote(through)+": want the number of an event", "audit export prints the number of the last event")
			}
			return f.each(ctx, p, func(s *store.Store, _ string, a store.Actor) error {
				events, err := s.AuditLogs().Prune(ctx, a.TenantID, a.KeyID, number)
				if err == nil || events > 0 {
					fmt.Fprintln(p.stderr, "removed:", events)
				}
				return err
			})
		},
	}
}
