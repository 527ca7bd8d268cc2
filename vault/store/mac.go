package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/database"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

// authenticRow is a row that grants authority, so only the vault may write it: its mac covers the table's name and the
// columns of covered, under the keyset of its tenant. one and collect verify the rows that they read.
type authenticRow interface {
	covered() (table, tenant, id string, c columns)
	mac() *[]byte
}

// rowMAC is the mac column of a row.
type rowMAC struct{ code []byte }

func (m *rowMAC) mac() *[]byte { return &m.code }

func (m *rowMAC) column() column { return column{"mac", &m.code} }

// unverified is a row that is read without checking its mac, to delete it or to authenticate it again.
type unverified[Row any] struct{ row Row }

// authenticate sets the mac of a row, before the row is written.
func (t *txn) authenticate(r authenticRow) error {
	table, tenant, _, c := r.covered()
	keys, err := t.keysOf(tenant)
	if err == nil {
		*r.mac(), err = keys.MAC(t.encode(table, c))
	}
	return err
}

// verify returns an *alteredError for a row that the vault didn't write.
func (t *txn) verify(r authenticRow) error {
	table, tenant, id, c := r.covered()
	keys, err := t.keysOf(tenant)
	if err == nil && !keys.Verify(*r.mac(), t.encode(table, c)) {
		err = &alteredError{table, tenant, id}
	}
	return err
}

// storedRow is a pointer to a row with all columns that it is stored in, or all but its ciphertexts.
type storedRow[Row any] interface {
	*Row
	authenticRow
	stored() columns
}

// authenticTable is a table of authentic rows.
type authenticTable struct {
	name string

	// authenticate is authenticateRows for the table.
	authenticate func(t *txn, check bool, limit int, where string, args ...any) (rows int, err error)

	// verify is verifyRows for the table.
	verify func(*verification) error
}

// tableOf returns the table of a type of rows. key is the column that covered returns as id. check is for verifyRows.
func tableOf[Row any, P storedRow[Row]](key string, check func(*verification, P) error) authenticTable {
	name, _, _, _ := P(new(Row)).covered()
	return authenticTable{
		name: name,
		authenticate: func(t *txn, check bool, limit int, where string, args ...any) (int, error) {
			return authenticateRows[Row, P](t, key, check, limit, where, args...)
		},
		verify: func(v *verification) error { return verifyRows(v, key, check) },
	}
}

// authenticTables are all tables of authentic rows.
var authenticTables = []authenticTable{
	tableOf[tenantRow]("id", nil), tableOf[Key]("id", nil), tableOf("id", (*verification).opens), tableOf[bindingRow]("id", nil),
	tableOf[Flow]("id", nil), tableOf[schedule]("secret_id", nil), tableOf[policyRow]("id", nil), tableOf[entryRow]("id", nil),
}

// authenticateRows sets the macs of at most limit rows that match where, and returns their number. With check it verifies the old
// macs first.
func authenticateRows[Row any, P storedRow[Row]](t *txn, key string, check bool, limit int, where string, args ...any) (int, error) {
	table, _, _, _ := P(new(Row)).covered()
	rows, err := collect(t, func(u *unverified[Row]) []any { return P(&u.row).stored().fields() },
		`SELECT `+P(new(Row)).stored().names("")+` FROM `+table+` WHERE `+where+` LIMIT `+strconv.Itoa(limit), args...)
	if err != nil {
		return 0, err
	}
	for i := range rows {
		r := P(&rows[i].row)
		if check {
			err = t.verify(r)
		}
		if err = cmp.Or(err, t.authenticate(r)); err != nil {
			return 0, err
		}
		_, _, id, _ := r.covered()
		if err := t.Defer(`UPDATE `+table+` SET mac = $1 WHERE `+key+` = $2`, *r.mac(), id); err != nil {
			return 0, err
		}
	}
	return len(rows), nil
}

// macRows is the number of rows that one transaction authenticates again.
const macRows = 512

// renewMACs authenticates a batch of the tenant's rows with the current key. It leaves out secrets, which are encrypted too.
// Errors: *alteredError.
func (t *txn) renewMACs() (rows int, err error) {
	keys, err := t.keys()
	if err != nil {
		return 0, err
	}
	const old = ` = $1 AND substr(mac, 1, 5) <> $2`
	args := []any{t.actor.TenantID, keys.MACPrefix()}
	for _, table := range authenticTables {
		tenant := "tenant_id"
		switch table.name {
		case "secrets":
			continue
		case "tenants":
			tenant = "id"
		}
		n, err := table.authenticate(t, true, macRows-rows, tenant+old, args...)
		if err != nil {
			return 0, err
		}
		rows += n
	}
	return rows, nil
}

// authenticateAll sets the macs of all rows of a database from before there were any, and stores a probe that says so. It
// runs in the transaction that opens the store: a database that has the probe is authentic.
func (t *txn) authenticateAll() error {
	rows, err := t.authenticateNew()
	if err != nil {
		return err
	}
	t.store.log.Info().Int("rows", rows).Msg("rows authenticated")
	return t.setProbe()
}

// authenticateNew sets the macs of all rows that have none, and returns their number.
func (t *txn) authenticateNew() (all int, err error) {
	for _, table := range authenticTables {
		for {
			n, err := table.authenticate(t, false, macRows, `length(mac) = 0`)
			if err != nil {
				return all, err
			}
			if all += n; n == 0 {
				break
			}
			if err := t.store.step("rows authenticated"); err != nil {
				return all, err
			}
		}
	}
	return all, nil
}

// Alter runs a statement and authenticates all rows again, for tests of states that only time brings about.
func (s *Store) Alter(ctx context.Context, statement string, args ...any) error {
	return s.write(ctx, operator, anyKey, func(t *txn) error {
		if err := t.Exec(statement, args...); err != nil {
			return err
		}
		for _, table := range authenticTables {
			if err := t.Exec(`UPDATE ` + table.name + ` SET mac = ''`); err != nil {
				return err
			}
		}
		_, err := t.authenticateNew()
		return cmp.Or(err, t.Exec(`UPDATE tenants SET revision = revision + 1`))
	})
}

// alteredError is the error of a row whose mac is wrong. Clients get it as api.ErrInternal.
type alteredError struct{ table, tenant, id string }

func (e *alteredError) Error() string {
	what := map[string]string{
		"api_keys": "key %s was added or changed outside of the vault: revoke it",
		"bindings": "binding %s was added or changed outside of the vault: delete it",
		"secrets":  "secret %s was added or changed outside of the vault: delete it, and create it again",

		"network_policies": "policy %s was added or changed outside of the vault: delete it",
		"allowlist":        "entry %s of the allowlist was added or changed outside of the vault: delete it",
	}[e.table]
	if what == "" {
		what = "row %s of " + e.table + " was added or changed outside of the vault"
	}
	return fmt.Sprintf(what, clip(e.id))
}

func (e *alteredError) Unwrap() error { return api.NewError(api.ErrInternal, e.Error()) }

// alteredRows remembers which altered rows were audited in the last hour, so that a client that meets one again and again
// doesn't fill the audit.
type alteredRows struct {
	mu      sync.Mutex // guards the fields below
	audited map[alteredError]struct{}
	since   time.Time
}

// add reports whether the row was not met in the last hour.
func (a *alteredRows) add(e alteredError, now time.Time) bool {
	const most = 1000
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.since) >= time.Hour {
		a.audited, a.since = map[alteredError]struct{}{}, now
	}
	if _, ok := a.audited[e]; ok || len(a.audited) >= most {
		return false
	}
	a.audited[e] = struct{}{}
	return true
}

// reportAltered counts an altered row that a transaction has met, and audits it once per hour.
func (s *Store) reportAltered(err error) {
	e, ok := errors.AsType[*alteredError](err)
	if !ok {
		return
	}
	if s.conf.OnAltered != nil {
		s.conf.OnAltered(e.table)
	}
	if !s.altered.add(*e, time.Now()) {
		return
	}
	s.log.Error().Str("table", e.table).Str("id", clip(e.id)).Msg("row was altered outside of the vault")
	event := api.Event{Action: actRowRefused, Outcome: api.OutcomeDenied, Detail: e.table + " " + clip(e.id)}
	err = s.write(context.Background(), Actor{KeyID: operator.KeyID, TenantID: e.tenant, local: true}, anyKey, func(t *txn) error { return t.audit(event) })
	if err != nil {
		s.log.Error().Err(err).Msg("altered row not audited")
	}
}

// Alteration is something that was altered outside of a vault. It is an error.
type Alteration struct {
	Table   string
	ID      string // of the row; of audit, the tenant's
	Problem string
}

func (a *Alteration) Error() string { return a.Problem }

// Verify reads a whole database, and calls report for each row whose mac is wrong, each value that doesn't open and each audit log
// that isn't as the vault has written it. It goes on unless report returns an error. After each batch of rows, and at the end of each
// table, when all is true, it calls progress with the number of rows of the table that were verified.
func Verify(ctx context.Context, tx database.Tx, root keyring.Root, progress func(table string, rows int64, all bool), report func(*Alteration) error) error {
	keys, err := keyring.New(root)
	if err != nil {
		return err
	}
	v := &verification{ctx: ctx, txn: &txn{Tx: tx, store: &Store{keys: keys}, actor: operator, now: now()}, progress: progress, report: report}
	for _, table := range authenticTables {
		if err := table.verify(v); err != nil {
			return err
		}
	}
	return v.logs()
}

// verification is one call of Verify.
type verification struct {
	ctx context.Context //nolint:containedctx // it lives as long as the call
	*txn
	progress func(table string, rows int64, all bool)
	report   func(*Alteration) error
}

// unlessReported reports err if it is that of an altered row; other errors it returns.
func (v *verification) unlessReported(table, id string, err error) error {
	if err != nil && errors.Is(err, api.ErrInternal) {
		return v.report(&Alteration{table, id, err.Error()})
	}
	return err
}

// verifyRows verifies all rows of a table, in the order of its key, and calls check with each authentic one; nil: no check.
func verifyRows[Row any, P storedRow[Row]](v *verification, key string, check func(*verification, P) error) error {
	table, _, _, _ := P(new(Row)).covered()
	var verified int64
	for after := ""; ; {
		rows, err := collect(v.txn, func(u *unverified[Row]) []any { return P(&u.row).stored().fields() },
			`SELECT `+P(new(Row)).stored().names("")+` FROM `+table+` WHERE `+key+` > $1 ORDER BY `+key+` LIMIT `+strconv.Itoa(macRows), after)
		if err = cmp.Or(v.ctx.Err(), err); err != nil {
			return err
		}
		for i := range rows {
			r := P(&rows[i].row)
			err := v.verify(r)
			if err == nil && check != nil {
				err = check(v, r)
			}
			_, _, after, _ = r.covered()
			if err := v.unlessReported(table, after, err); err != nil {
				return err
			}
		}
		verified += int64(len(rows))
		all := len(rows) < macRows
		if v.progress(table, verified, all); all {
			return nil
		}
	}
}

// opens checks that what is encrypted in a secret opens.
func (v *verification) opens(r *secretRow) error {
	keys, err := v.keysOf(r.tenant)
	if err == nil {
		err = v.QueryRow(`SELECT refresh_token, value FROM secrets WHERE id = $1`, r.ID).Scan(r.sealed().fields()...)
	}
	for field, sealed := range map[string][]byte{fieldPreview: r.sealedPreview, fieldRefresh: r.refresh, fieldValue: r.value} {
		if err == nil && (sealed != nil || field != fieldRefresh) {
			var plain []byte
			api.Quietly(func() { plain, err = keys.Open(sealed, r.ID, r.Version, field) })
			clear(plain)
		}
	}
	r.refresh, r.value = nil, nil
	return err
}

// logs verifies the audit logs of all tenants.
func (v *verification) logs() error {
	const page = 1000
	ids, err := v.tenantIDs("")
	if err != nil {
		return err
	}
	var verified int64
	for _, id := range ids {
		keys, err := v.keysOf(id)
		if err != nil && !errors.Is(err, api.ErrInternal) {
			return err
		}
		l := &audit.Log{Tx: v, Tenant: id, Keys: keys, Now: v.now}
		part := &audit.Verifier{}
		for check := (api.AuditCheck{}); !check.Complete && check.Problem == nil; {
			if check, err = part.Next(l, page); err != nil {
				return err
			}
			if err := v.ctx.Err(); err != nil {
				return err
			}
			if p := check.Problem; p != nil {
				if err := v.report(&Alteration{"audit", id, "audit log of tenant " + id + ": event " + strconv.FormatInt(p.Seq, 10) + ": " + p.Message}); err != nil {
					return err
				}
			}
			verified += check.Checked
			v.progress("audit", verified, false)
		}
	}
	v.progress("audit", verified, true)
	return nil
}
