package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// platform is what an image runs on, and the one time in it.
type platform struct {
	arch    string
	created time.Time
}

// imageConfig is the part of the OCI image configuration that is used here
// (OCI image specification, "Image Configuration").
type imageConfig struct {
	Architecture string    `json:"architecture"`
	OS           string    `json:"os"`
	Created      time.Time `json:"created"`
	Config       struct {
		User       string            `json:"User,omitempty"`
		Env        []string          `json:"Env,omitempty"`
		Entrypoint []string          `json:"Entrypoint"`
		Labels     map[string]string `json:"Labels,omitempty"`
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
	History []history `json:"history"`
}

type history struct {
	Created   time.Time `json:"created"`
	CreatedBy string    `json:"created_by"`
}

// build writes the stage as an archive in the form of `docker save`, under the
// tags, and returns the image's id: the digest of its configuration, which holds
// the digest of its layer.
func (s *stage) build(w io.Writer, root string, p platform, tags []string) (id string, err error) {
	layer, err := s.layer(root, p)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", s.name, err)
	}
	c := imageConfig{Architecture: p.arch, OS: "linux", Created: p.created}
	c.Config.User, c.Config.Entrypoint, c.Config.Labels = s.user, s.entrypoint, s.labels
	c.Config.Env = []string{"PATH=/"}
	c.RootFS.Type = "layers"
	c.RootFS.DiffIDs = []string{"sha256:" + digest(layer)}
	c.History = []history{{p.created, "deploy/images"}}
	config, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", s.name, err)
	}
	id = digest(config)
	layerName := digest(layer) + "/layer.tar"
	manifest, err := json.Marshal([]map[string]any{{"Config": id + ".json", "RepoTags": tags, "Layers": []string{layerName}}})
	if err != nil {
		return "", fmt.Errorf("image %s: %w", s.name, err)
	}
	out := tar.NewWriter(w)
	for _, f := range []struct {
		name string
		data []byte
	}{{"manifest.json", manifest}, {id + ".json", config}, {layerName, layer}} {
		if err := add(out, p, tar.Header{Name: f.name, Mode: 0o644}, f.data); err != nil {
			return "", fmt.Errorf("image %s: %w", s.name, err)
		}
	}
	return "sha256:" + id, out.Close()
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// layer is the stage's file system.
func (s *stage) layer(root string, p platform) ([]byte, error) {
	var b bytes.Buffer
	out := tar.NewWriter(&b)
	made := map[string]bool{"/": true}
	for _, c := range s.copies {
		if err := parents(out, p, made, path.Dir(c.dst)); err != nil {
			return nil, err
		}
		src := filepath.Join(root, c.src)
		err := filepath.WalkDir(src, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(src, name)
			if err != nil {
				return err
			}
			return entry(out, p, c, name, path.Join(c.dst, filepath.ToSlash(rel)), d)
		})
		if err != nil {
			return nil, fmt.Errorf("COPY %s: %w", c.src, err)
		}
	}
	if err := out.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// parents makes the directories above a target.
func parents(out *tar.Writer, p platform, made map[string]bool, dir string) error {
	if made[dir] {
		return nil
	}
	if err := parents(out, p, made, path.Dir(dir)); err != nil {
		return err
	}
	made[dir] = true
	return add(out, p, tar.Header{Name: inLayer(dir) + "/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
}

func inLayer(p string) string { return strings.TrimPrefix(p, "/") }

// entry copies a file or directory. Of its mode only what makes it a program is
// kept: a checkout's umask is nobody's intention.
func entry(out *tar.Writer, p platform, c copied, name, dst string, d fs.DirEntry) error {
	h := tar.Header{Name: inLayer(dst), Mode: 0o644, Uid: c.uid, Gid: c.gid}
	if d.IsDir() {
		h.Name, h.Typeflag, h.Mode = h.Name+"/", tar.TypeDir, 0o755
		return add(out, p, h, nil)
	}
	st, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", name)
	}
	if st.Mode()&0o100 != 0 {
		h.Mode = 0o755
	}
	data, err := os.ReadFile(name) //nolint:gosec // the Dockerfile names it
	if err != nil {
		return err
	}
	return add(out, p, h, data)
}

func add(out *tar.Writer, p platform, h tar.Header, data []byte) error {
	h.Size, h.ModTime, h.Format = int64(len(data)), p.created, tar.FormatUSTAR
	if err := out.WriteHeader(&h); err != nil {
		return err
	}
	_, err := out.Write(data)
	return err
}
