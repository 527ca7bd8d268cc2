package cli

import (
	"errors"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// Moment is a flag for a time in the future, given as a time or as the duration until then.
type Moment struct {
	OrNever bool // accept the word never
	Past    bool // accept times in the past, and durations since then

	At    *time.Time // nil: not given, or never
	Never bool
	Ago   string // the duration as given, if in days or weeks, which the vault reads
}

// Set accepts 720h, 30d or 2030-01-02T03:04:05Z.
func (m *Moment) Set(s string) error {
	s = setting.Trim(s)
	if m.OrNever && strings.EqualFold(s, "never") {
		m.At, m.Never = nil, true
		return nil
	}
	m.Never, m.Ago = false, ""
	d, err := time.ParseDuration(s)
	days, isDays := api.ParseAgo(s)
	if isDays = isDays && strings.ContainsAny(s, "dw"); isDays {
		d, err = days, nil
	}
	lengths, sign := "720h or 30d", time.Duration(1)
	if m.Past {
		lengths, sign = "24h or 7d", -1
		if isDays {
			m.Ago = s
		}
	}
	var at time.Time
	if err == nil && d > 0 {
		at = time.Now().Add(sign * d).UTC().Truncate(time.Second)
	} else if at, err = time.Parse(time.RFC3339, s); err != nil {
		text := "want a length of time such as " + lengths + ", or a time such as 2030-01-02T15:04:05Z"
		if m.OrNever {
			text += ", or never"
		}
		return errors.New(text)
	}
	m.At = &at
	return nil
}

// String returns "".
func (m *Moment) String() string { return "" }

// Type returns "moment".
func (m *Moment) Type() string { return "moment" }
