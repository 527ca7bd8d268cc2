// Package cache keeps one set sealed on disk, so that a machine can start while its vault is out of reach.
package cache

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/cause"
)

// DefaultMaxAge is the greatest age of a cache that is used.
const DefaultMaxAge = 24 * time.Hour

const (
	maxBytes = 64 << 20        // far above a vault's longest answer
	maxAhead = 5 * time.Minute // of this machine's clock, for the time at which a cache was saved
)

// The errors of a cache that can't be used.
var (
	errDamaged = errors.New("the cache is damaged, or was sealed under another key")
	errForeign = errors.New("the cache is of another resource")
	errOld     = errors.New("the cache is too old")
	errFuture  = errors.New("the cache is from the future: check this machine's clock")
	errUnsafe  = errors.New("others may change the cache's folder or file")
)

// Config configures a Cache.
type Config struct {
	Path     string         // absolute; missing parent directories are created with mode 0700
	Key      api.Key        // the resource key, with which the cache is sealed
	KeyNow   func() api.Key // returns the key that has replaced Key; nil: Key is never replaced
	KeyFile  string         // the file of the key, which must not be in the same directory; empty: none
	Resource api.Resource
	MaxAge   time.Duration // since the vault last confirmed the set; zero: DefaultMaxAge
}

// Validate returns every problem of the configuration at once. It opens no file.
func (c Config) Validate() error {
	var problems []error
	if !filepath.IsAbs(c.Path) {
		problems = append(problems, fmt.Errorf("cache path %q isn't absolute", c.Path))
	} else if c.KeyFile != "" && beside(c.Path, c.KeyFile) {
		problems = append(problems, fmt.Errorf("cache %s would lie beside its key", c.Path))
	}
	if c.Key.Len() == 0 {
		problems = append(problems, errors.New("a cache needs the key it is sealed under"))
	}
	if c.MaxAge < 0 {
		problems = append(problems, fmt.Errorf("cache max age %s is negative", c.MaxAge))
	}
	return errors.Join(append(problems, c.Resource.Validate())...)
}

// beside reports whether two files are in the same directory, through symlinks too.
func beside(a, b string) bool {
	a, b = filepath.Dir(a), filepath.Dir(b)
	one, err := os.Stat(a)
	two, otherErr := os.Stat(b)
	return a == b || err == nil && otherErr == nil && os.SameFile(one, two)
}

// Cache is a sealed file. Several processes may use the same file.
type Cache struct{ conf Config }

// New returns a cache. It opens no file.
func New(c Config) (*Cache, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.MaxAge = cmp.Or(c.MaxAge, DefaultMaxAge)
	return &Cache{c}, nil
}

// Path returns the path of the file.
func (c *Cache) Path() string { return c.conf.Path }

// MaxAge returns the greatest age at which the cache is used.
func (c *Cache) MaxAge() time.Duration { return c.conf.MaxAge }

// Load returns the set without what has expired, and when the vault last confirmed it. The values are in locked memory.
// Errors: fs.ErrNotExist; or why the cache can't be used.
func (c *Cache) Load() (api.Snapshot, time.Time, error) {
	s, at, err := c.load()
	if err != nil {
		return api.Snapshot{}, time.Time{}, fmt.Errorf("open cache %s: %w", c.conf.Path, cause.Of(err))
	}
	return s, at, nil
}

func (c *Cache) load() (api.Snapshot, time.Time, error) {
	file, err := readOwn(c.conf.Path, maxBytes)
	if err != nil {
		return api.Snapshot{}, time.Time{}, err
	}
	s, at, err := c.open(file)
	if err != nil {
		return api.Snapshot{}, time.Time{}, err
	}
	// at is authenticated from here on.
	if age := time.Since(at); age > c.conf.MaxAge {
		err = fmt.Errorf("%w: the vault confirmed it %s ago", errOld, age.Round(time.Second))
	} else if age < -maxAhead {
		err = errFuture
	}
	if err != nil {
		s.Wipe()
		return api.Snapshot{}, time.Time{}, err
	}
	s, expired := s.Unexpired(time.Now())
	api.Snapshot{Bound: expired}.Wipe()
	return s, at, nil
}

// Save replaces the cached set. at is when the vault confirmed it. After an error the file is unchanged.
func (c *Cache) Save(s api.Snapshot, at time.Time) error {
	file, err := c.seal(s, at)
	if err == nil {
		err = replaceOwn(c.conf.Path, file)
	}
	if err != nil {
		return fmt.Errorf("save cache %s: %w", c.conf.Path, cause.Of(err))
	}
	return nil
}

// Wipe removes the file, and files that an interrupted Save has left. Wiping twice is harmless.
func (c *Cache) Wipe() error {
	if err := removeOwn(c.conf.Path); err != nil {
		return fmt.Errorf("wipe cache %s: %w", c.conf.Path, cause.Of(err))
	}
	return nil
}
