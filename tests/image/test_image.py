from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mirage_hooks import image
from mirage_hooks.image import Identity
from mirage_hooks.image.device import Device
from mirage_hooks.messages.errors import Refused, Unavailable
from tests import elf

NAMES = {elf.X86_64: 'x86_64', elf.AARCH64: 'aarch64'}


@pytest.fixture
def identify(tmp_path: Path) -> Callable[[bytes], Identity]:
    def identify(content: bytes) -> Identity:
        path = tmp_path / 'image'
        path.write_bytes(content)
        return image.identify(path, name='www')

    return identify


def refusal(act: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(Refused) as refused:
        act(*arguments)
    return str(refused.value)


# Solo5


@pytest.mark.parametrize('stripped', [False, True])
@pytest.mark.parametrize(
    ('number', 'target', 'style'),
    [
        (1, 'hvt', ''),
        (2, 'spt', ''),
        (3, 'virtio', ''),
        (4, 'muen', ''),
        (5, 'genode', ''),
        (6, 'xen', 'pvh'),
    ],
)
def test_the_abi_note_names_the_target(number, target, style, stripped, identify):
    content = elf.solo5(number, version=1, stripped=stripped)
    # MirageOS for Xen has devices that its manifest does not name.
    assert identify(content) == Identity(target, 1, style, None if target == 'xen' else ())


def test_the_manifest_names_the_devices_in_its_order(identify):
    content = elf.solo5(
        2, elf.entry(b'service', elf.NET), elf.entry(b'disk_1', elf.BLOCK), elf.entry(b'B', elf.NET)
    )
    devices = (Device('service', 'net'), Device('disk_1', 'block'), Device('B', 'net'))
    assert identify(content) == Identity('spt', 2, '', devices)


def test_a_full_manifest_has_63_devices(identify):
    names = [f'storage{number}' for number in range(63)]
    content = elf.solo5(2, *(elf.entry(name.encode(), elf.BLOCK) for name in names))
    assert identify(content).devices == tuple(Device(name, 'block') for name in names)


def test_notes_may_share_a_segment(identify):
    shared = elf.note(b'GNU', 3, b'build') + elf.abi(2) + elf.manifest()
    assert identify(elf.write(elf.CODE, *elf.notes(shared))) == Identity('spt', 2, '', ())


def test_notes_aligned_to_8_bytes_are_read_so(identify):
    shared = elf.note(b'GNU', 5, b'12345', 8) + elf.note(b'Xen', 18, bytes(8), 8)
    content = elf.write(elf.CODE, elf.Segment(elf.PT_NOTE, shared, 8))
    assert identify(content) == Identity('xen', style='pvh')


MALFORMED_MANIFESTS = {
    '4 bytes hold no header': elf.note(b'Solo5', elf.MANIFEST, bytes(4)),
    'version 2, not 1': elf.manifest(version=2),
    '0 entries, not 1 to 64': elf.manifest(count=0),
    '65 entries, not 1 to 64': elf.manifest(*(elf.entry(b'd%d' % n, 1) for n in range(64))),
    '4294967295 entries, not 1 to 64': elf.manifest(count=0xFFFFFFFF),
    '116 bytes do not hold 2 entries': elf.manifest(count=2),
    'its first entry is not the reserved one': elf.note(
        b'Solo5', elf.MANIFEST, struct.pack('<4xII', 1, 1) + elf.entry(b'service', elf.NET)
    ),
    'a device name is not terminated': elf.manifest(elf.entry(b's' * 68, elf.NET)),
    "'' is no device name": elf.manifest(elf.entry(b'', elf.NET)),
    "'a b' is no device name": elf.manifest(elf.entry(b'a b', elf.NET)),
    "'\\x1b[31m' is no device name": elf.manifest(elf.entry(b'\x1b[31m', elf.NET)),
    "'é' is no device name": elf.manifest(elf.entry(b'\xe9', elf.NET)),
    "'service\\n' is no device name": elf.manifest(elf.entry(b'service\n', elf.NET)),
    'device service is of unknown type 3': elf.manifest(elf.entry(b'service', 3)),
    'device service is marked as attached': elf.manifest(elf.entry(b'service', elf.NET, 1)),
    'it names device a twice': elf.manifest(elf.entry(b'a', elf.NET), elf.entry(b'a', elf.BLOCK)),
}


@pytest.mark.parametrize('reason', MALFORMED_MANIFESTS)
def test_a_malformed_manifest_is_refused(reason, identify):
    content = elf.write(elf.CODE, *elf.notes(elf.abi(2), MALFORMED_MANIFESTS[reason]))
    assert refusal(identify, content) == f'www has a malformed Solo5 manifest: {reason}'


CONTRADICTION = 'www contradicts itself: '
XEN_NOTE = elf.note(b'Xen', 18, bytes(4))


@pytest.mark.parametrize(
    ('notes', 'said'),
    [
        (
            (elf.note(b'Solo5', elf.ABI, bytes(8)), elf.manifest()),
            'www has a malformed Solo5 ABI note: 8 bytes, not 16',
        ),
        ((elf.abi(7),), 'www is linked for Solo5 target 7, which is not known here'),
        ((elf.abi(1), elf.abi(2)), CONTRADICTION + 'it has 2 Solo5 ABI notes'),
        (
            (elf.abi(2), elf.manifest(), elf.manifest()),
            CONTRADICTION + 'it has 2 Solo5 manifest notes',
        ),
        (
            (elf.abi(2), elf.manifest(), XEN_NOTE),
            CONTRADICTION + 'Solo5 says spt, other notes say xen',
        ),
        (
            (elf.manifest(),),
            'www is linked to no Solo5 target: it has a manifest but no ABI note',
        ),
        ((elf.abi(2),), 'www is linked for spt, but has no Solo5 manifest'),
    ],
)
def test_notes_that_make_no_sense_are_refused(notes, said, identify):
    assert refusal(identify, elf.write(elf.CODE, *elf.notes(*notes))) == said


def test_a_xen_section_in_an_hvt_image_is_refused(identify):
    notes = elf.notes(elf.abi(1), elf.manifest())
    content = elf.write(elf.CODE, *notes, sections={'__xen_guest': b'XEN_VER=xen-3.0\0'})
    assert refusal(identify, content) == CONTRADICTION + 'Solo5 says hvt, other notes say xen'


def test_a_virtio_image_may_lack_a_manifest(identify):
    content = elf.write(elf.CODE, *elf.notes(elf.abi(3, 1)))
    assert identify(content) == Identity('virtio', 1, '', None)


def test_an_spt_image_at_no_fixed_address_is_refused(identify):
    content = elf.write(elf.CODE, *elf.notes(elf.abi(2), elf.manifest()), type=elf.ET_DYN)
    assert refusal(identify, content) == 'www is linked for spt, but not at a fixed address'


# Xen and virtio


@pytest.mark.parametrize('guest', ['Mini-OS', 'Mirage'])
def test_the_xen_guest_section_says_pv(guest, identify):
    section = f'GUEST_OS={guest},XEN_VER=xen-3.0,VIRT_BASE=0x0,LOADER=generic\0'.encode()
    sections = {'.text': b'', '__xen_guest': section, '.data': b'1'}
    content = elf.write(elf.CODE, sections=sections, entry=0)
    assert identify(content) == Identity('xen', style='pv')


def test_a_guest_of_another_xen_is_refused(identify):
    content = elf.write(elf.CODE, sections={'__xen_guest': b'XEN_VER=xen-2.0\0'}, entry=0)
    said = 'www is a Xen guest, but not for xen-3.0, the only interface there is'
    assert refusal(identify, content) == said


def test_the_phys32_entry_note_says_pvh(identify):
    content = elf.write(elf.CODE, *elf.notes(XEN_NOTE))
    assert identify(content) == Identity('xen', style='pvh')


def test_xen_notes_without_phys32_entry_say_pv(identify):
    content = elf.write(elf.CODE, *elf.notes(elf.note(b'Xen', 5, b'xen-3.0\0')))
    assert identify(content) == Identity('xen', style='pv')


def test_a_guest_of_32_bits_is_read_too(identify):
    content = elf.write(elf.CODE, *elf.notes(XEN_NOTE), bits=32, machine=3)
    assert identify(content) == Identity('xen', style='pvh')
    section = {'__xen_guest': b'GUEST_OS=Mini-OS,XEN_VER=xen-3.0'}
    content = elf.write(elf.CODE, sections=section, bits=32, machine=3, entry=0)
    assert identify(content) == Identity('xen', style='pv')


START = 64 + 56  # where an image with one program header has its first free byte


def multiboot(checksum: int = 0) -> bytes:
    magic, flags = 0x1BADB002, 0x00010003
    return struct.pack('<3I', magic, flags, (checksum - magic - flags) % (1 << 32))


@pytest.mark.parametrize('at', [START, 4096, (8 << 10) - 12])
def test_a_multiboot_header_in_the_first_8_kib_says_virtio(at, identify):
    content = elf.write(elf.CODE, head=bytes(at - START) + multiboot())
    assert identify(content) == Identity('virtio')


@pytest.mark.parametrize(
    'head',
    [
        multiboot(checksum=1),
        b'\0' + multiboot(),
        bytes((8 << 10) - 8 - START) + multiboot(),
        bytes(8 << 10) + multiboot(),
    ],
    ids=['wrong checksum', 'not aligned', 'half beyond 8 KiB', 'beyond 8 KiB'],
)
def test_what_only_looks_like_a_multiboot_header_is_none(head, identify):
    assert identify(elf.write(elf.CODE, head=head)) == Identity('unix')


# unix


@pytest.mark.parametrize('program', ['/bin/ls', '/bin/sh', sys.executable])
def test_a_program_of_this_host_is_unix(program):
    assert image.identify(Path(program), name=program) == Identity('unix')


def test_a_dynamic_program_is_unix(identify, tmp_path):
    loader = tmp_path / 'ld.so'
    loader.touch()
    interpreter = elf.Segment(elf.PT_INTERP, os.fsencode(loader) + b'\0')
    for kind in (elf.ET_EXEC, elf.ET_DYN):
        assert identify(elf.write(interpreter, elf.CODE, type=kind)) == Identity('unix')


def test_a_static_program_is_unix(identify):
    assert identify(elf.write(elf.CODE)) == Identity('unix')
    assert identify(elf.write(elf.CODE, elf.PIE, type=elf.ET_DYN)) == Identity('unix')


@pytest.mark.parametrize('path', ['/nonexistent/ld-musl.so', '/' + 'x' * 300])
def test_a_program_for_a_loader_that_is_missing_is_worth_a_retry(path, identify):
    interpreter = elf.Segment(elf.PT_INTERP, path.encode() + b'\0')
    with pytest.raises(Unavailable) as unavailable:
        identify(elf.write(interpreter, elf.CODE))
    said = f'www wants the loader {path}, which this host does not have'
    assert str(unavailable.value) == said


@pytest.mark.parametrize('path', [b'ld.so\0', b'/ld.so', b'', b'\0', b'/' * 4096 + b'\0'])
def test_an_interpreter_that_is_no_path_is_refused(path, identify):
    content = elf.write(elf.Segment(elf.PT_INTERP, path), elf.CODE)
    said = 'www is a malformed ELF file: its interpreter is no absolute path'
    assert refusal(identify, content) == said


def test_a_shared_library_is_refused(identify):
    needed = elf.Segment(elf.PT_DYNAMIC, struct.pack('<qQqQ', 1, 1, 0, 0), 8)
    content = elf.write(elf.CODE, needed, type=elf.ET_DYN, entry=0)
    assert refusal(identify, content) == 'www is not an image: it is a shared library'


@pytest.mark.parametrize(
    ('type', 'said'),
    [
        (elf.ET_REL, 'www is not an image: it is an object file'),
        (elf.ET_CORE, 'www is not an image: it is a core dump'),
        (0xFE00, 'www is not an image: it is ELF of type 65024'),
    ],
)
def test_an_elf_file_that_is_no_program_is_refused(type, said, identify):
    assert refusal(identify, elf.write(elf.CODE, type=type)) == said


@pytest.mark.parametrize('content', [elf.write(), elf.write(elf.CODE, entry=0)])
def test_an_elf_file_without_a_program_is_refused(content, identify):
    said = 'www is not an image: it is an ELF file without a program'
    assert refusal(identify, content) == said


@pytest.mark.skipif(elf.HOST not in NAMES, reason='knows the names of x86_64 and aarch64 only')
@pytest.mark.parametrize(
    'segments',
    [
        (),
        (elf.Segment(elf.PT_INTERP, b'/nonexistent/ld.so\0'),),
        elf.notes(elf.abi(1), elf.manifest()),
        elf.notes(elf.abi(2), elf.manifest()),
    ],
)
def test_an_image_for_another_machine_is_refused(segments, identify):
    said = refusal(identify, elf.write(elf.CODE, *segments, machine=elf.FOREIGN))
    assert said == f'www is built for {NAMES[elf.FOREIGN]}, but this host is {NAMES[elf.HOST]}'


@pytest.mark.parametrize(
    'script',
    [
        b'#!/bin/sh\n',
        b'#! /bin/sh -e\n',
        b'#!\t/bin/sh',
        b'#!/bin/sh -x y z\nrest\0\xff',
        b'#!/bin/sh ' + b'x' * 245 + b'\n',
    ],
)
def test_a_script_is_unix(script, identify):
    assert identify(script) == Identity('unix')


@pytest.mark.parametrize(
    'script',
    [
        b'#!',
        b'#!\n',
        b'#!sh\n',
        b'#!./run\n',
        b'#!/bin/sh\r\nexit\r\n',
        b'#!/bin/s\0h\n',
        b'#!/bin/sh ' + b'x' * 246 + b'\n',
        b'#!/' + b'x' * 300 + b'\n',
    ],
)
def test_a_script_that_names_no_interpreter_is_refused(script, identify):
    said = 'www is not an image: its first line names no interpreter by its full path'
    assert refusal(identify, script) == said


def test_a_script_for_an_interpreter_that_is_missing_is_worth_a_retry(identify):
    with pytest.raises(Unavailable) as unavailable:
        identify(b'#!/nonexistent/python3\n')
    said = 'www wants the interpreter /nonexistent/python3, which this host does not have'
    assert str(unavailable.value) == said


@pytest.mark.parametrize(
    'content', [b'x', b'MZ\x90\0', b'<html>', b'ustar', b'\x7fEL', b'# !/bin/sh\n', bytes(9000)]
)
def test_what_is_neither_elf_nor_script_is_refused(content, identify):
    said = 'www is not an image: it is neither an ELF file nor a script'
    assert refusal(identify, content) == said


# Hostile ELF files

MALFORMED = 'www is a malformed ELF file: '


def patched(content: bytes, layout: str, at: int, value: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(layout, changed, at, value)
    return bytes(changed)


@pytest.mark.parametrize(
    ('end', 'what', 'until'),
    [
        (10, 'its identification', 16),
        (63, 'its header', 64),
        (100, 'its program headers', 64 + 56 + 56),
        (180, 'a segment', 176 + 64),
        (-1, 'its section headers', 0),
    ],
)
def test_a_truncated_elf_file_says_what_is_missing(end, what, until, identify):
    content = elf.write(elf.CODE, *elf.notes(XEN_NOTE), sections={})
    cut = content[:end]
    assert refusal(identify, cut) == (
        'www is a truncated ELF file: '
        f'{what} should end at byte {until or len(content)} of {len(cut)}'
    )


@pytest.mark.parametrize(
    ('layout', 'at', 'value', 'reason'),
    [
        ('B', 4, 3, 'it is neither 32 nor 64 bits, or of neither byte order'),
        ('B', 5, 0, 'it is neither 32 nor 64 bits, or of neither byte order'),
        ('<H', 56, 0xFFFF, 'it has 65535 program headers, more than 1024'),
        ('<H', 60, 0xFFFF, 'it has 65535 section headers, more than 1024'),
        ('<H', 54, 55, 'its program headers have 55 bytes, not 56'),
        ('<H', 58, 0, 'its section headers have 0 bytes, not 64'),
    ],
)
def test_a_malformed_header_is_refused(layout, at, value, reason, identify):
    content = patched(elf.solo5(2), layout, at, value)
    assert refusal(identify, content) == MALFORMED + reason


def test_a_note_larger_than_its_segment_is_refused(identify):
    wild = patched(elf.abi(2), '<I', 4, 0xFFFFFFF0)
    said = refusal(identify, elf.write(elf.CODE, *elf.notes(wild)))
    assert said == MALFORMED + 'a note does not fit into its segment'


def test_too_many_bytes_of_notes_are_refused(identify):
    notes = elf.notes(*[elf.note(b'GNU', 3, bytes(100_000))] * 3)
    said = refusal(identify, elf.write(elf.CODE, *notes))
    assert said == MALFORMED + 'its notes and its dynamic section exceed 262144 bytes'


def test_an_empty_section_may_lie_anywhere(identify):
    content = elf.write(elf.CODE, sections={'__xen_guest': b''}, entry=0)
    header = len(content) - 2 * 64
    said = 'www is a Xen guest, but not for xen-3.0, the only interface there is'
    assert refusal(identify, patched(content, '<Q', header + 24, (1 << 64) - 1)) == said


def test_a_section_without_a_name_is_passed_over(identify):
    content = elf.write(elf.CODE, sections={'__xen_guest': b'XEN_VER=xen-3.0'})
    headers = len(content) - 3 * 64
    assert identify(content) == Identity('xen', style='pv')
    assert identify(patched(content, '<I', headers + 64, 0xFFFFFFFF)) == Identity('unix')
    assert identify(patched(content, '<H', 62, 0xFFFF)) == Identity('unix')


def test_the_slow_import_of_pyelftools_waits_for_an_image():
    check = 'import sys, mirage_hooks.image; print("elftools" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', check], capture_output=True, text=True, check=True)
    assert done.stdout == 'False\n'


# Images that other tools made


@pytest.mark.skipif(not shutil.which('gcc'), reason='gcc is missing')
@pytest.mark.skipif(not shutil.which('strip'), reason='strip of binutils is missing')
def test_a_linked_and_stripped_xen_guest_is_still_known(tmp_path):
    source, linked = tmp_path / 'guest.s', tmp_path / 'guest'
    source.write_text(
        '.text\n.globl _start\n_start: nop\n'
        '.section __xen_guest\n.ascii "GUEST_OS=Mini-OS,XEN_VER=xen-3.0"\n.byte 0\n'
    )
    flags = ('-nostdlib', '-static', '-Wl,-Ttext=0', '-Wl,--build-id=sha1')
    subprocess.run(['gcc', *flags, '-o', linked, source], check=True)
    assert image.identify(linked, name='guest') == Identity('xen', style='pv')
    subprocess.run(['strip', linked], check=True)
    assert image.identify(linked, name='guest') == Identity('xen', style='pv')


KERNELS = Path(os.environ.get('SOLO5_TESTS', '/nonexistent'))
with_kernels = pytest.mark.skipif(
    not KERNELS.is_dir(), reason='SOLO5_TESTS names no folder of built Solo5 tests'
)


@with_kernels
@pytest.mark.parametrize('target', ['hvt', 'spt', 'virtio', 'muen', 'xen'])
def test_the_kernels_of_solo5_are_what_they_are_called(target, tmp_path):
    style = 'pvh' if target == 'xen' else ''
    kernels = sorted(KERNELS.glob(f'test_*/test_*.{target}'))
    assert kernels
    for kernel in kernels:
        identity = image.identify(kernel, name=kernel.name)
        assert (identity.target, identity.style) == (target, style)
        assert identity.abi
        stripped = tmp_path / kernel.name
        subprocess.run(['strip', '-o', stripped, kernel], check=True)
        assert image.identify(stripped, name=kernel.name) == identity


@with_kernels
@pytest.mark.parametrize(
    ('kernel', 'devices'),
    [
        ('test_hello', ()),
        ('test_blk', (Device('storage', 'block'),)),
        ('test_net', (Device('service0', 'net'),)),
        ('test_net_2if', (Device('service0', 'net'), Device('service1', 'net'))),
    ],
)
def test_the_devices_of_solo5s_kernels_are_read(kernel, devices):
    path = KERNELS / kernel / f'{kernel}.spt'
    assert image.identify(path, name=kernel).devices == devices


@with_kernels
def test_the_stub_kernels_of_solo5_are_refused():
    path = KERNELS / 'test_hello' / 'test_hello.stub'
    with pytest.raises(Refused) as refused:
        image.identify(path, name='stub')
    said = 'stub is linked to no Solo5 target: it has a manifest but no ABI note'
    assert str(refused.value) == said
