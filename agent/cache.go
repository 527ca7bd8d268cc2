package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/cause"
)

// DefaultCacheMaxAge is how old a cache may be that is started from.
const DefaultCacheMaxAge = 24 * time.Hour

const (
	maxCacheBytes = 64 << 20        // far above a vault's longest answer
	fromFuture    = 5 * time.Minute // how far ahead of our clock a cache may have been saved
)

// Why a cache is refused. A missing one is fs.ErrNotExist.
var (
	ErrCacheDamaged = errors.New("the cache is damaged, or was sealed under another key")
	ErrCacheForeign = errors.New("the cache is of another resource")
	ErrCacheOld     = errors.New("the cache is too old")
	ErrCacheFuture  = errors.New("the cache is from the future: check this machine's clock")
	ErrCacheUnsafe  = errors.New("others may change the cache's folder or file")
)

// CacheConfig says where a cache is and what opens it.
type CacheConfig struct {
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
	// DefaultCacheMaxAge.
	MaxAge time.Duration
}

// Validate returns every problem of the configuration at once. It opens no file.
func (c CacheConfig) Validate() error {
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

// beside tells whether two files are in one folder, whatever links lead there.
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

func (c CacheConfig) maxAge() time.Duration {
	if c.MaxAge == 0 {
		return DefaultCacheMaxAge
	}
	return c.MaxAge
}

// Cache is one set sealed on disk, so that a machine can start while its vault is out of reach. Several
// processes may share a path.
type Cache struct{ conf CacheConfig }

// NewCache opens no file.
func NewCache(c CacheConfig) (*Cache, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Cache{c}, nil
}

// Path is the cache's file.
func (c *Cache) Path() string { return c.conf.Path }

// Load returns the set without what has expired, and when the vault last confirmed it. The values are opened
// where no dump sees them. Nothing of a cache that is refused is returned.
// Errors: fs.ErrNotExist, and the ErrCache ones, wrapped.
func (c *Cache) Load() (api.Snapshot, time.Time, error) {
	s, at, err := c.load()
	if err != nil {
		return api.Snapshot{}, time.Time{}, fmt.Errorf("open cache %s: %w", c.conf.Path, cause.Of(err))
	}
	return s, at, nil
}

func (c *Cache) load() (api.Snapshot, time.Time, error) {
	file, err := readOwn(c.conf.Path, maxCacheBytes)
	if err != nil {
		return api.Snapshot{}, time.Time{}, err
	}
	s, at, err := c.open(file)
	if err != nil {
		return api.Snapshot{}, time.Time{}, err
	}
	// Only now is the time known to be the one that was written.
	if age := time.Since(at); age > c.conf.maxAge() {
		err = fmt.Errorf("%w: the vault confirmed it %s ago", ErrCacheOld, age.Round(time.Second))
	} else if age < -fromFuture {
		err = ErrCacheFuture
	}
	if err != nil {
		s.Wipe()
		return api.Snapshot{}, time.Time{}, err
	}
	s, expired := unexpired(s, time.Now())
	api.Snapshot{Bound: expired}.Wipe()
	return s, at, nil
}

// Save replaces the cache by the set, which the vault confirmed at a time. After an error the file is
// as it was before.
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
