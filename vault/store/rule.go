package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"math/big"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
)

// storedRule is an api.EgressRule in JSON, as the database and the macs have it; "": there is none. It isn't encoded again
// for a mac, so that a later version may add fields.
type storedRule string

// newRule encodes a rule that is valid, zero or nil.
func newRule(r *api.EgressRule) storedRule {
	if r == nil || r.IsZero() {
		return ""
	}
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // texts and numbers can be encoded
	}
	return storedRule(text)
}

// rule decodes a rule that was verified; nil: there is none.
func (s storedRule) rule() *api.EgressRule {
	if s == "" {
		return nil
	}
	var r api.EgressRule
	if json.Unmarshal([]byte(s), &r) != nil {
		return nil // so nothing is sent
	}
	return &r
}

// column is the column of a row.
func (s *storedRule) column() column { return column{"egress", (*string)(s)} }

// covered adds the column to those that a mac covers, unless it is empty, as it is in rows from before there were rules.
func (s *storedRule) covered(c columns) columns {
	if *s == "" {
		return c
	}
	return append(c, s.column())
}

// detail describes the rule for the audit.
func (s storedRule) detail() string {
	const longest = 1 << 10
	switch {
	case s == "":
		return "none"
	case len(s) > longest:
		return strings.ToValidUTF8(string(s[:longest]), "") + "..."
	}
	return string(s)
}

// rulesOf are the rules that a request must satisfy so that a broker sends the value of a secret for a binding: without one of the
// secret it sends nothing, whatever the binding has. Ports and slots that the binding's rule leaves out are the secret's, since
// their defaults may exclude those.
func rulesOf(secret, binding storedRule) []api.EgressRule {
	whole := secret.rule()
	if whole == nil {
		return []api.EgressRule{}
	}
	narrowed := binding.rule()
	if narrowed == nil {
		return []api.EgressRule{*whole}
	}
	if len(narrowed.Ports) == 0 {
		narrowed.Ports = whole.Ports
	}
	if len(narrowed.Slots) == 0 {
		narrowed.Slots = whole.Slots
	}
	return []api.EgressRule{*whole, *narrowed}
}

// checkRule allows nil, and the zero rule, which stands for none.
func checkRule(r *api.EgressRule) error {
	if r == nil || r.IsZero() {
		return nil
	}
	return r.Validate()
}

// ruleOfMetadata is the rule in a secret's metadata, which unchanged SDKs can set; nil: there is none. Metadata is a JSON object.
func ruleOfMetadata(metadata json.RawMessage) (*api.EgressRule, error) {
	var m struct {
		Egress json.RawMessage `json:"egress"`
	}
	if _ = json.Unmarshal(metadata, &m); m.Egress == nil {
		return nil, nil
	}
	r, err := api.ParseEgressRule(m.Egress)
	if err != nil {
		return nil, invalid("metadata." + err.Error())
	}
	return r, nil
}

// newPlaceholder returns the placeholder of a binding, in the shape of its own rule or else its secret's.
func newPlaceholder(secret, binding storedRule) string {
	shape := shapeOf(secret, binding)
	if shape == nil {
		return api.PlaceholderPrefix + strings.ToLower(rand.Text())
	}
	letters, length := shape.Random()
	text := []byte(shape.Prefix)
	for range length {
		n, _ := rand.Int(rand.Reader, big.NewInt(int64(len(letters)))) // it never fails
		text = append(text, letters[n.Int64()])
	}
	return string(text)
}

// shapeOf is the shape of a binding's placeholder; nil: the usual one.
func shapeOf(secret, binding storedRule) *api.EgressShape {
	for _, s := range []storedRule{binding, secret} {
		if r := s.rule(); r != nil && r.Shape != nil {
			return r.Shape
		}
	}
	return nil
}

func sameShape(a, b *api.EgressShape) bool { return a == b || a != nil && b != nil && *a == *b }

// SetRule changes where a broker may send a secret's value, without a rotation; the zero rule: nowhere. The reveals that wait for it
// wake. Bindings whose placeholders have another shape then get new ones.
// Errors: ErrInvalid, ErrNotFound, ErrDenied also for a key that may not bind.
func (s *Store) SetRule(ctx context.Context, a Actor, id string, rule api.EgressRule) (secret api.Secret, err error) {
	err = s.change(ctx, a, actSecretRotate, 0, checkRule(&rule), func(t *txn) error {
		r, err := t.secret(id)
		if err != nil {
			return err
		}
		if err := t.changeRule(&r, &rule); err != nil {
			return err
		}
		secret, err = t.changed(r, nil)
		return err
	})
	return secret, err
}

// SetBindingRule changes the rule that narrows a secret's for a binding; the zero rule: none. The broker's reveal that waits for it
// wakes. If the placeholder then has another shape, the binding gets a new one.
// Errors: ErrInvalid, ErrNotFound, ErrDenied for a resource key.
func (s *Store) SetBindingRule(ctx context.Context, a Actor, id string, rule api.EgressRule) (binding api.Binding, err error) {
	err = s.change(ctx, a, actBindingRule, 0, checkRule(&rule), func(t *txn) error {
		c := t.ofBinding(id)
		b, err := one(t, "binding", (*bindingRow).fields, selectBindings+c.String(), c.Args...)
		if err != nil {
			return err
		}
		before := b.rule
		if b.rule = newRule(&rule); b.rule == before {
			binding = b.answer()
			return nil
		}
		secret, err := t.secret(b.SecretID)
		if err != nil {
			return err
		}
		if !sameShape(shapeOf(secret.rule, before), shapeOf(secret.rule, b.rule)) {
			b.PlaceholderToken = newPlaceholder(secret.rule, b.rule)
		}
		if err := t.authenticate(&b); err != nil {
			return err
		}
		if err := cmp.Or(t.update("bindings", b.ID, b.stored()), t.use(usage{bytes: int64(len(b.rule) - len(before))})); err != nil {
			return err
		}
		if err := t.checkSet(b.Resource); err != nil {
			return err
		}
		t.wake(b.Resource)
		binding = b.answer()
		return t.auditBinding(actBindingRule, &b)
	})
	return binding, err
}

// mayRule returns a denial unless the actor may say where a secret's value is sent: that gives it to others, as a binding does.
func (t *txn) mayRule(r secretRow) error {
	return t.mayDo(actSecretRule, resourceOf(r.ResourceType, r.ResourceID))
}

// changeRule stores the rule of a secret that exists, audits it, and wakes the reveals that wait for it. It does nothing if
// rule is nil, or if r has it and the actor may set it: otherwise the answer would tell which rule that is.
func (t *txn) changeRule(r *secretRow, rule *api.EgressRule) error {
	if rule == nil {
		return nil
	}
	if err := t.mayRule(*r); err != nil || newRule(rule) == r.rule {
		return err
	}
	before := r.rule
	r.rule = newRule(rule)
	if err := t.authenticate(r); err != nil {
		return err
	}
	if err := t.updateSecret(r.ID, columns{r.rule.column(), r.rowMAC.column()}); err != nil {
		return err
	}
	if _, err := t.wakeBound(r.ID); err != nil {
		return err
	}
	return cmp.Or(t.reshape(r.ID, before, r.rule), t.auditRule(*r))
}

func (t *txn) auditRule(r secretRow) error {
	e := secretEvent(actSecretRule, r)
	e.Detail = r.rule.detail()
	return t.audit(e)
}

// reshape gives the bindings of a secret new placeholders, if the secret's rule has another shape than before and they have
// none of their own.
func (t *txn) reshape(secretID string, before, now storedRule) error {
	bound, err := collect(t, (*bindingRow).fields, selectBindings+` WHERE b.secret_id = $1`, secretID)
	if err != nil {
		return err
	}
	for i := range bound {
		b := &bound[i]
		if sameShape(shapeOf(before, b.rule), shapeOf(now, b.rule)) {
			continue
		}
		b.PlaceholderToken = newPlaceholder(now, b.rule)
		if err := t.authenticate(b); err != nil {
			return err
		}
		if err := t.update("bindings", b.ID, columns{{"placeholder_token", &b.PlaceholderToken}, b.rowMAC.column()}); err != nil {
			return err
		}
		t.more++
	}
	return nil
}
