package output

import "golang.org/x/sys/unix"

// stamp is a file's status. A change of content, mode or owner changes ctime, which nobody can set, and which advances in
// steps of some milliseconds.
type stamp struct {
	dev, ino       uint64
	links          uint64
	size           int64
	mode, uid, gid uint32
	mtime, ctime   unix.Timespec
}

func stampOf(st unix.Stat_t) stamp {
	links := uint64(st.Nlink) //nolint:unconvert // on arm64 it has 32 bits
	return stamp{dev: st.Dev, ino: st.Ino, links: links, size: st.Size, mode: st.Mode, uid: st.Uid, gid: st.Gid, mtime: st.Mtim, ctime: st.Ctim}
}

// withoutContent returns the part of a directory's stamp that doesn't change when files are added to it.
func (s stamp) withoutContent() stamp {
	s.links, s.size, s.mtime, s.ctime = 0, 0, unix.Timespec{}, unix.Timespec{}
	return s
}
