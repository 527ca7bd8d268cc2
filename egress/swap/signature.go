package swap

import (
	"strings"

	"github.com/Miosa-osa/miosa-env/egress/rule"
	"github.com/Miosa-osa/miosa-env/egress/sign"
)

// webhookSignature is the signature of a webhook that was made with the placeholder of a binding.
type webhookSignature struct {
	binding int
	scheme  sign.Webhook
}

// accessKeyID returns the access key id of an AWS signature.
func (c *change) accessKeyID() (string, bool) {
	s := sign.ParseAWS(c.r)
	if s == nil {
		return "", false
	}
	return s.ID(), true
}

// findAWS finds out whether the request was signed with a placeholder.
func (c *change) findAWS() error {
	if len(c.table.aws) == 0 || !strings.HasPrefix(c.r.Header.Get(authorization), "AWS4-") && !strings.Contains(c.r.URL.RawQuery, "X-Amz-Signature=") {
		return nil
	}
	s := sign.ParseAWS(c.r)
	if s == nil {
		return nil
	}
	slot := rule.Slot{Kind: rule.SigV4}
	if s.NeedsBody() {
		reader := c.reader(c.table.aws, slot)
		if reader < 0 {
			return nil
		}
		if err := c.readBody(reader); err != nil {
			return err
		}
	}
	keys := make([][]byte, len(c.table.aws))
	for k, i := range c.table.aws {
		keys[k] = c.placeholder(i)
	}
	k := s.FindKey(c.r, c.text(), keys)
	if k < 0 {
		return nil
	}
	i := c.table.aws[k]
	if s.ChunkSigned() {
		return c.refuse(i, "each chunk of the body is signed; turn off chunked or streaming signatures in the client, or let it sign the whole body or none of it", "")
	}
	c.aws, c.awsBinding = s, i
	_, err := c.value(i, slot)
	return err
}

// findWebhooks finds out whether the body was signed with placeholders.
func (c *change) findWebhooks() error {
	for _, i := range c.table.webhooks {
		for _, slot := range c.table.bindings[i].slots {
			scheme, ok := sign.FindWebhook(slot.Name)
			if slot.Kind != rule.HMAC || !ok || !scheme.Signed(c.r.Header) || !c.allows(i, slot) {
				continue
			}
			if err := c.readBody(i); err != nil {
				return err
			}
			if !scheme.Verify(c.r.Header, c.text(), c.placeholder(i)) {
				continue
			}
			if err := c.use(i, slot); err != nil {
				return err
			}
			c.webhooks = append(c.webhooks, webhookSignature{i, scheme})
		}
	}
	return nil
}

// reader returns the first of some bindings whose rules allow the request with the value in a slot, or -1.
func (c *change) reader(bindings []int, slot rule.Slot) int {
	for _, i := range bindings {
		if c.allows(i, slot) {
			return i
		}
	}
	return -1
}

func (c *change) text() []byte {
	if c.body == nil {
		return nil
	}
	return c.body.text
}

func (c *change) placeholder(i int) []byte {
	return []byte(c.table.bindings[i].label.Egress.Placeholder)
}

// signWebhooks replaces signatures made with placeholders by those of the new body.
func (c *change) signWebhooks(text []byte) error {
	for _, w := range c.webhooks {
		signed := false
		c.table.bindings[w.binding].value.Use(func(key []byte) {
			signed = w.scheme.Sign(c.r.Header, c.body.text, c.placeholder(w.binding), text, key)
		})
		if !signed {
			return c.refuse(w.binding, "its signature can't be made with the value", "")
		}
	}
	return nil
}

// sign signs the request if it was signed with a placeholder.
func (c *change) sign() error {
	if c.aws == nil {
		return nil
	}
	var text []byte
	if c.body != nil {
		text = append([]byte{}, c.body.text...)
		if c.body.changed != nil {
			text = c.body.changed
		}
	}
	signed := false
	c.table.bindings[c.awsBinding].value.Use(func(key []byte) { signed = c.aws.Sign(c.r, text, key) })
	if !signed {
		return c.refuse(c.awsBinding, "its signature can't be made with the value", "")
	}
	return nil
}
