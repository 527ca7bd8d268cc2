package tenant

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
	"github.com/Miosa-osa/miosa-env/internal/setting"
	"github.com/Miosa-osa/miosa-env/secrets"
)

const (
	auditPage  = 1000            // the most events in one response
	auditPause = 2 * time.Second // between requests of --follow
)

// auditActions are the actions of docs/api.md.
var auditActions = []string{
	"secret.create", "secret.replace", "secret.rotate", "secret.rule", "secret.delete", "binding.create", "binding.delete", "binding.rule", "binding.move",
	"reveal", "broker.reveal", "key.create", "key.revoke", "key.replace", "key.refused", "oauth.start", "oauth.callback", "oauth.refresh", "row.refused",
	"audit.prune", "audit.altered", "traffic", "traffic.allow", "traffic.deny", "traffic.pending",
	"policy.create", "policy.update", "policy.delete", "allowlist.create", "allowlist.delete",
	"keys.delete", "keys.rotate", "keys.retire", "root.rotate",
	"secret.read", "binding.list", "audit.read", "key.read", "network.read", "oauth.read",
}

// auditHead are the titles of the columns, auditWidths what they are padded to where the widths of later events aren't known.
var (
	auditHead   = []string{"TIME", "ACTION", "OUTCOME", "KEY", "RESOURCE", "WHAT", "FROM", "METHOD", "HOST", "PATH", "STATUS", "EFFECT"}
	auditWidths = []int{20, 14, 7, 45, 16, 24, 15, 6, 24, 24, 6, 0}
)

func auditCommand(p *program.Program) *cli.Command {
	var (
		asJSON, follow bool
		resource       api.Resource
		filter         secrets.AuditFilter
		limit          = 100
		since, until   = cli.Moment{Past: true}, cli.Moment{Past: true}
	)
	return vaultCommand(p, &cli.Command{
		Use:   "audit [FLAG...]",
		Short: "Show who did what to secrets, and when",
		Long: `Shows the tenant's audit log: every change and every reveal, with the key and the address of the
request, newest first, or with --since oldest first. Secrets, variables and the resources of keys
have names, deleted ones only ids. A broker, and MIOSA's platform, report the requests that leave
sandboxes: method, host, path, status, and the effect of the policy. It needs a tenant key, as
miosa-env secrets does.`,
		Example: `  miosa-env audit --since 24h --action reveal
  miosa-env audit --resource sandbox:sb_1 --limit 20
  miosa-env audit --follow --json | jq -r .action`,
		Flags: func(f *pflag.FlagSet) {
			f.Var(resourceValue(&resource), "resource", "`RESOURCE` events of sandbox:ID or computer:ID")
			f.Var(setting.Word(&filter.Action).Suggest(auditActions...), "action", "`ACTION` such as reveal or secret.rotate")
			f.Var(setting.Word(&filter.KeyID), "key-id", "`ID` events of requests with this key")
			f.Var(setting.Text(&filter.SecretID), "secret-id", "`ID` events of a secret, including reveals; an existing secret's name works too")
			f.Var(setting.Word(&filter.Host), "host", "`HOST` requests of sandboxes to a host")
			f.Var(&since, "since", "`WHEN` events from this time on: 24h or 7d ago, or 2030-01-02T15:04:05Z")
			f.Var(&until, "until", "`WHEN` events before this time: 1h or 7d ago, or 2030-01-02T15:04:05Z")
			f.IntVar(&limit, "limit", limit, "`NUMBER` at most this many; 0: all")
			f.BoolVar(&follow, "follow", false, "keep running, and show new events, or those from --since on")
			addJSONFlag(f, &asJSON, "a JSON list; with --follow, an object a line")
		},
	}, func(ctx context.Context, vault *secrets.Client, inv *cli.Invocation) error {
		switch {
		case limit < 0:
			return cli.Usage(errors.New("--limit is below zero"), "0 shows all")
		case follow && (until.At != nil || inv.Flags.Changed("limit")):
			return cli.Usage(errors.New("--follow has no end, so neither --until nor --limit goes with it"), "leave one out")
		}
		if id := filter.SecretID; id != "" && !isSecretID(id) {
			secret, err := findSecret(ctx, vault, id)
			if err != nil {
				return err
			}
			filter.SecretID = secret.ID
		}
		filter.Resource, filter.Since, filter.Until = resource, since.At, until.At
		if until.Ago != "" {
			filter.Until, filter.UntilAgo = nil, until.Ago
		}
		if follow { // from one time to the next
			return followAudit(ctx, p, vault, filter, asJSON)
		}
		if since.Ago != "" {
			filter.Since, filter.SinceAgo = nil, since.Ago
		}
		list, err := events(ctx, vault, filter, limit)
		if err != nil {
			return err
		}
		var known names
		if !asJSON && len(list) > 0 {
			_ = known.load(ctx, vault) // ids stand for names that aren't known
		}
		return printList(p, asJSON, list, func() string {
			text, meant := "there are no such events", ""
			if filter.Action != "" && !slices.Contains(auditActions, filter.Action) {
				if meant = nearest.Word(filter.Action, auditActions); meant == "" {
					text += ", and " + cli.Quote(filter.Action) + " is no known action: docs/api.md lists them"
				}
			}
			return text + nearest.OrMeant(cmp.Or(meant, nearResource(ctx, vault, resource)))
		}, auditHead, func(e *api.Event) []string { return eventCells(e, &known) })
	})
}

// isSecretID reports whether a text has the form of a secret's id, of a secret that may be deleted: sec_..., or a UUID on MIOSA's platform.
func isSecretID(s string) bool {
	return strings.HasPrefix(s, "sec_") || len(s) == 36 && strings.Count(s, "-") == 4
}

// events returns at most limit events; all if limit is 0.
func events(ctx context.Context, vault *secrets.Client, f secrets.AuditFilter, limit int) ([]api.Event, error) {
	f.Limit = auditPage
	if limit > 0 {
		f.Limit = min(limit, auditPage)
	}
	var list []api.Event
	for e, err := range vault.AuditAll(ctx, f) {
		if err != nil {
			return nil, err
		}
		if list = append(list, e); len(list) == limit {
			break
		}
	}
	return list, nil
}

// eventCells are the cells of auditHead; the last ones are about a request from a sandbox.
func eventCells(e *api.Event, known *names) []string {
	resource, at := "", ""
	if e.ResourceID != "" {
		resource = e.ResourceType + ":" + e.ResourceID
	}
	if !e.Timestamp.IsZero() {
		at = e.Timestamp.UTC().Format(time.RFC3339)
	}
	action := e.Action
	if e.Count > 1 {
		action += fmt.Sprintf(" (%d times)", e.Count)
	}
	status := ""
	if e.StatusCode != 0 {
		status = strconv.Itoa(e.StatusCode)
	}
	return []string{at, action, e.Outcome, known.key(e.KeyID), resource, known.subject(e), e.RemoteAddr,
		e.Method, e.Host, e.Path, status, e.Effect}
}

// followAudit prints events until it is interrupted. The vault may return them in either order.
func followAudit(ctx context.Context, p *program.Program, vault *secrets.Client, f secrets.AuditFilter, asJSON bool) error {
	f.Limit = auditPage
	shown := map[string]time.Time{} // by id: the events at f.Since, and later ones of this round
	if f.Since == nil {
		var err error
		if f.Since, err = lastEvent(ctx, vault, f, shown); err != nil {
			return err
		}
	}
	if !asJSON {
		if err := printLine(p, auditHead); err != nil {
			return err
		}
	}
	var known names
	for {
		newest, complete := *f.Since, true
		loaded := false // in this round
		for e, err := range vault.AuditAll(ctx, f) {
			if err != nil {
				if !api.Temporary(err) {
					return err
				}
				p.Log.Warn().Err(err).Msg("cannot follow audit: retrying")
				complete = false
				break
			}
			if _, before := shown[e.ID]; before || e.Timestamp.Before(*f.Since) {
				continue
			}
			if !asJSON && !loaded {
				loaded = known.loadFor(ctx, vault, &e)
			}
			if err := printEvent(p, &e, &known, asJSON); err != nil {
				return err
			}
			shown[e.ID] = e.Timestamp
			if e.Timestamp.After(newest) {
				newest = e.Timestamp
			}
		}
		if complete {
			f.Since = &newest
			maps.DeleteFunc(shown, func(_ string, at time.Time) bool { return at.Before(newest) })
		}
		if err := delay.Sleep(ctx, auditPause); err != nil {
			return err
		}
	}
}

// lastEvent returns the time of the newest event by the vault's clock, and adds the events at that time to shown.
func lastEvent(ctx context.Context, vault *secrets.Client, f secrets.AuditFilter, shown map[string]time.Time) (*time.Time, error) {
	list, err := events(ctx, vault, f, 1)
	if err != nil || len(list) == 0 {
		return &time.Time{}, err
	}
	f.Since = &list[0].Timestamp
	list, err = events(ctx, vault, f, 0)
	for _, e := range list {
		shown[e.ID] = e.Timestamp
	}
	return f.Since, err
}

// printEvent prints an event on one line.
func printEvent(p *program.Program, e *api.Event, known *names, asJSON bool) error {
	if !asJSON {
		return printLine(p, eventCells(e, known))
	}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = cli.Redacted{To: p.Stdout}.Write(append(line, '\n'))
	return err
}

// printLine prints cells in the columns of auditHead.
func printLine(p *program.Program, cells []string) error {
	padded := make([]string, len(cells))
	for i, text := range cells {
		padded[i] = fmt.Sprintf("%-*s", auditWidths[i], program.Cell(text))
	}
	_, err := cli.Redacted{To: p.Stdout}.Write([]byte(strings.Join(padded, "  ") + "\n"))
	return err
}
