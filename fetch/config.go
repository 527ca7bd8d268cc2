package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/setting"
	"github.com/rs/zerolog"
)

// DefaultBaseURL is where MIOSA's platform answers.
const DefaultBaseURL = "https://api.miosa.ai/api/v1"

// DefaultTimeout bounds one call, its retries included.
const DefaultTimeout = 10 * time.Second

// Config says which vault to speak to, with which key, and how.
type Config struct {
	// BaseURL is https, or http to loopback. Where its path is empty, /api/v1 is appended.
	// Empty means DefaultBaseURL.
	BaseURL string
	// Key is a resource key or a tenant key. Required.
	Key api.Key
	// Reread reads the key again where it came from. It is called when the vault has refused a key with 401 or 403,
	// by one call at a time, and the call is made again if it gives another one than refused. Nil: there is
	// nowhere to read it again.
	Reread func(ctx context.Context, refused api.Key) (api.Key, error)
	// CAFile names a PEM file with the only root certificates to trust. Empty means the system's. It is read over
	// http too, which has no use for it, so that a wrong one is noticed.
	CAFile string
	// Proxy is the URL of an http or https proxy, which is asked to CONNECT. Empty means none,
	// whatever the environment says.
	Proxy string
	// Timeout bounds a call with all its retries; a reveal that waits has its wait on top.
	// Zero means DefaultTimeout.
	Timeout time.Duration
	// Log gets attempts at debug level, and one warning where a vault gives no values.
	// The zero Logger is silent.
	Log zerolog.Logger
	// UserAgent is what the vault is told. Empty means "miosa-env".
	UserAgent string
}

// SettingError says what is wrong with a setting.
type SettingError struct {
	message, hint string
	cause         error // or nil
}

func (e *SettingError) Error() string { return e.message }

// Hint says what to give instead.
func (e *SettingError) Hint() string { return e.hint }

// Unwrap gives the operating system's reason, where that is what is wrong.
func (e *SettingError) Unwrap() error { return e.cause }

func badBase(message string) error {
	return &SettingError{message: message, hint: "give the vault's address, such as " + DefaultBaseURL + "; plain http is for a vault on this machine"}
}

func badProxy(message string) error {
	return &SettingError{message: message, hint: "give the proxy's address in --proxy or MIOSA_PROXY, such as http://proxy.example.com:3128, or leave it out"}
}

// Validate returns every problem of the configuration at once. It opens no file.
func (c Config) Validate() error {
	var problems []error
	base, err := c.base()
	if err != nil {
		problems = append(problems, err)
	}
	if c.Key.Len() == 0 {
		problems = append(problems, errors.New("a key is required"))
	}
	if c.Timeout < 0 {
		problems = append(problems, fmt.Errorf("timeout %s is negative", c.Timeout))
	}
	if c.Proxy != "" {
		if _, err := c.proxy(); err != nil {
			problems = append(problems, err)
		} else if base != nil && base.Scheme == "http" {
			problems = append(problems, &SettingError{
				message: "a proxy is for https only: over http it would see the key",
				hint:    "leave out --proxy and MIOSA_PROXY, or give the vault's https address in --base-url or MIOSA_BASE_URL",
			})
		}
	}
	return errors.Join(problems...)
}

func (c Config) timeout() time.Duration {
	if c.Timeout == 0 {
		return DefaultTimeout
	}
	return c.Timeout
}

func (c Config) userAgent() string {
	if c.UserAgent == "" {
		return "miosa-env"
	}
	return c.UserAgent
}

// proxy returns Proxy checked.
func (c Config) proxy() (*url.URL, error) {
	text := setting.Trim(c.Proxy)
	if strings.ContainsFunc(text, unicode.IsSpace) {
		return nil, badProxy("the proxy's URL has white space in it")
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, badProxy("the proxy isn't a URL: want http://HOST:PORT or https://HOST:PORT") // not repeated: it may hold a password
	}
	return u, nil
}
