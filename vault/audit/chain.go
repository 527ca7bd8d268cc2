package audit

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"

	"github.com/Miosa-osa/miosa-env/api"
)

// hashOf is the hash of an event: of the hash before it and the event's fields that aren't empty, each with its name. So a new
// field changes no hash of an event that lacks it. docs/api.md describes the encoding, so that others can verify an export.
func hashOf(before []byte, e *api.Event) []byte {
	const usual = 1 << 10
	b := api.AppendFrame(make([]byte, 0, usual), "miosa-vault event", string(before))
	add := func(name, value string) {
		if value != "" {
			b = api.AppendFrame(b, name, value)
		}
	}
	add("seq", itoa(e.Seq))
	add("id", e.ID)
	add("tenant_id", e.TenantID)
	add("timestamp", itoa(e.Timestamp.UnixMicro()))
	add("action", e.Action)
	add("outcome", e.Outcome)
	add("key_id", e.KeyID)
	add("secret_id", e.SecretID)
	add("binding_id", e.BindingID)
	add("target_key_id", e.TargetKeyID)
	add("resource_type", e.ResourceType)
	add("resource_id", e.ResourceID)
	if e.Version != 0 {
		add("version", itoa(e.Version))
	}
	for _, r := range e.Bindings {
		add("binding", string(api.Frame(r.ID, r.SecretID, itoa(r.Version))))
	}
	add("detail", e.Detail)
	add("remote_addr", e.RemoteAddr)
	add("request_id", e.RequestID)
	add("host", e.Host)
	add("method", e.Method)
	add("path", e.Path)
	if e.StatusCode != 0 {
		add("status_code", itoa(int64(e.StatusCode)))
	}
	add("effect", e.Effect)
	add("policy_id", e.PolicyID)
	add("rule_id", e.RuleID)
	if e.OccurredAt != nil {
		add("occurred_at", itoa(e.OccurredAt.UnixMicro()))
	}
	add("external_user_id", e.ExternalUserID)
	add("external_workspace_id", e.ExternalWorkspaceID)
	if e.Count > 0 {
		add("repeats", "1")
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

// chain is the state of a tenant's chain: a row of audit_chains.
type chain struct {
	number       int64 // of the newest event
	hash         []byte
	eventID      string
	prunedNumber int64  // of the newest event that retention removed
	prunedHash   []byte // empty: unknown, since the chain was altered
	bytes        int64

	trafficBytes   int64 // of the events that are outgoing requests
	trafficRemoved int64 // events in gaps
}

// events is how many the log has.
func (c *chain) events() int64 { return c.number - c.prunedNumber - c.trafficRemoved }

// add counts the bytes of a new event.
func (c *chain) add(e *api.Event) {
	c.bytes += sizeOf(e)
	if isTraffic(e) {
		c.trafficBytes += sizeOf(e)
	}
}

// subtract uncounts the bytes of an event that is removed.
func (c *chain) subtract(e *api.Event) {
	c.bytes = max(c.bytes-sizeOf(e), 0)
	if isTraffic(e) {
		c.trafficBytes = max(c.trafficBytes-sizeOf(e), 0)
	}
}

// errAltered is the error of a chain's row that isn't authentic.
var errAltered = errors.New("the audit log was changed outside of the vault")

// mac authenticates a row.
func (l *Log) mac(row []byte) (mac []byte, macKeyID int64, err error) {
	if l.Keys == nil {
		return []byte{}, 0, nil
	}
	mac, err = l.Keys.MAC(row)
	return mac, l.Keys.Current(), err
}

func (l *Log) verify(mac, row []byte) bool { return l.Keys != nil && l.Keys.Verify(mac, row) }

func (l *Log) macInput(c *chain) []byte {
	parts := []string{"audit_chains", itoa(c.number), string(c.hash), c.eventID, itoa(c.prunedNumber), string(c.prunedHash), itoa(c.bytes)}
	if c.trafficBytes != 0 || c.trafficRemoved != 0 { // rows from before there was traffic stay authentic
		parts = append(parts, itoa(c.trafficBytes), itoa(c.trafficRemoved))
	}
	return api.Frame(parts...)
}

// read returns the chain as it is stored. Errors: errAltered.
func (l *Log) read() (*chain, error) {
	c, mac := &chain{}, []byte(nil)
	err := l.Tx.QueryRow(`SELECT number, hash, event_id, pruned_number, pruned_hash, bytes, traffic_bytes, traffic_removed, mac
		FROM audit_chains WHERE tenant_id = $1`, l.Tenant).
		Scan(&c.number, &c.hash, &c.eventID, &c.prunedNumber, &c.prunedHash, &c.bytes, &c.trafficBytes, &c.trafficRemoved, &mac)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !l.verify(mac, l.macInput(c)) {
		return c, errAltered
	}
	return c, err
}

// create inserts the chain's row.
func (l *Log) create(c *chain) error {
	l.chain = c
	if err := l.Tx.Exec(`INSERT INTO audit_chains (tenant_id, number, hash, event_id, pruned_number, pruned_hash, bytes, mac_key_id, mac)
		VALUES ($1, 0, '', '', 0, '', 0, 0, '')`, l.Tenant); err != nil {
		return err
	}
	return l.save(c)
}

// save updates the chain's row.
func (l *Log) save(c *chain) error {
	mac, macKeyID, err := l.mac(l.macInput(c))
	if err != nil {
		return err
	}
	return l.Tx.Defer(`UPDATE audit_chains SET number = $1, hash = $2, event_id = $3, pruned_number = $4, pruned_hash = $5, bytes = $6,
		traffic_bytes = $7, traffic_removed = $8, mac_key_id = $9, mac = $10 WHERE tenant_id = $11`,
		c.number, notNil(c.hash), c.eventID, c.prunedNumber, notNil(c.prunedHash), c.bytes, c.trafficBytes, c.trafficRemoved, macKeyID, mac, l.Tenant)
}

// notNil returns b, or an empty slice for nil, which would be stored as NULL.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Head returns the newest event's number and hash. Errors: api.ErrInternal if they aren't those that the vault has written.
func (l *Log) Head() (api.AuditHead, error) {
	c, err := l.read()
	if errors.Is(err, errAltered) {
		return api.AuditHead{}, api.NewError(api.ErrInternal, errAltered.Error()+": run miosa-vault audit verify on its machine")
	}
	return api.AuditHead{TenantID: l.Tenant, Seq: c.number, Hash: hexOf(c.hash), EventID: c.eventID,
		Count: c.events(), Pruned: c.prunedNumber}, err
}

func hexOf(hash []byte) string { return hex.EncodeToString(hash) }
