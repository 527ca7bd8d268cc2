// Package cache keeps one set sealed on disk, so that a machine can start while its vault is out of reach.
package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/cause"
)

// DefaultMaxAge is how old a cache may be that is started from.
const DefaultMaxAge = 24 * time.Hour

const (
	maxBytes   = 64 << 20        // far above a vault's longest answer
	fromFuture = 5 * time.Minute // how far ahead of our clock a cache may have been saved
)

// The errors of a cache that isn't used. A missing one is fs.ErrNotExist.
var (
	ErrDamaged = errors.New("the cache is damaged, or was sealed under another key")
	ErrForeign = errors.New("the cache is of another resource")
	ErrOld     = errors.New("the cache is too old")
	ErrFuture  = errors.New("the cache is from the future: check this machine's clock")
	ErrUnsafe  = errors.New("others may change the cache's folder or file")
)

// Config says where a cache is and what opens it.
type Config struct {
	// Path is the file. Missing folders above it are made, 0700.
	Path string
	// Key is the resource key: the cache opens only with it.
	Key api.Key
	// KeyNow returns the key that has taken Key's place. Nil means that Key stays.
	KeyNow func() api.Key
	// KeyFile is where the key is stored; the cache must not lie in the same folder. Empty: in no file.
	KeyFile string
	// Resource is whose set it holds.
	Resource api.Resource
	// MaxAge is how old a cache may be, from when the vault last confirmed it. Zero means
	// DefaultMaxAge.
	MaxAge time.Duration
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
	if a == b {
		return true
	}
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	two, err := os.Stat(b)
	return err == nil && os.SameFile(one, two)
}

func (c Config) maxAge() time.Duration {
	if c.MaxAge == 0 {
		return DefaultMaxAge
	}
	return c.MaxAge
}

// Cache is one sealed file. Several processes may share a path.
type Cache struct{ conf Config }

// New opens no file.
func New(c Config) (*Cache, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Cache{c}, nil
}

// Path is the cache's file.
func (c *Cache) Path() string { return c.conf.Path }

// MaxAge is how old the cache may be to be used.
func (c *Cache) MaxAge() time.Duration { return c.conf.maxAge() }

// Load returns the set without what has expired, and when the vault last confirmed it. The values are in locked memory.
// Errors: fs.ErrNotExist, and those of this package, wrapped; then no set is returned.
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
	// Only now is the time known to be the one that was written.
	if age := time.Since(at); age > c.conf.maxAge() {
		err = fmt.Errorf("%w: the vault confirmed it %s ago", ErrOld, age.Round(time.Second))
	} else if age < -fromFuture {
		err = ErrFuture
	}
	if err != nil {
		s.Wipe()
		return api.Snapshot{}, time.Time{}, err
	}
	s, expired := s.Unexpired(time.Now())
	api.Snapshot{Bound: expired}.Wipe()
	return s, at, nil
}

// Save replaces the cache by a set that the vault confirmed at a time. After an error the file is unchanged.
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

// Wipe removes the cache, and what an interrupted Save may have left. Wiping twice is harmless.
func (c *Cache) Wipe() error {
	err := removeOwn(c.conf.Path)
	if err != nil {
		return fmt.Errorf("wipe cache %s: %w", c.conf.Path, cause.Of(err))
	}
	return nil
}
