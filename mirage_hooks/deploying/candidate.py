"""A found image on its way to be a release: unpacked, identified, planned, tried."""

from __future__ import annotations

from pathlib import Path

import msgspec

from .. import config, image, targets
from ..git import tree
from ..host import devices, facts
from ..messages import errors
from ..state import files, journal, model
from ..state.pointers import alike
from ..state.releases import Releases
from ..switching import filling, fitting, preflight
from .context import Context
from .given import Given


class Candidates(Given):
    """The releases that one converge makes."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.lacking: dict[str, errors.Unavailable] = {}  # of a dry run, by unikernel
        self.requests: dict[int, targets.Request] = {}

    def staged(
        self, releases: Releases, name: str, wanted: config.Unikernel, found: tree.Found,
        limit: int, dry: bool = False,
    ) -> model.Release:
        """A new release, unpacked and planned; nothing of it remains when it is refused. A `dry`
        one uses up no number, and may lack what would run it."""
        number = releases.begin(self.context.state.of(name).last(), kept=not dry)
        try:
            folder = releases.folder(number)
            took = self._taken(name, folder, found, limit)
            _expect(took.target, wanted, name)
            for text in fitting.disks(self.context.repository, found, took.target, wanted):
                self.context.report.step(name, text)
            old = self.context.state.of(name).current()
            slot: model.Slot = 'green' if old is not None and old.slot == 'blue' else 'blue'
            program = self._program(name, wanted, took, dry)
            request = self._request(name, number, slot, folder, wanted, took, program)
            release = model.Release(
                unikernel=name, number=number, commit=found.commit, path=found.path,
                blob=found.blob, digest=took.digest, size=took.size,
                description=image.describe(took),
                fingerprint=self.fingerprint(name, wanted), slot=slot,
                created=journal.now(),
                plan=targets.plan(request), network=wanted.alone,
                memory=wanted.memory,
            )
            filling.require_startable(release.plan)
            releases.save(release)
        except BaseException:
            releases.discard(number)
            raise
        return release

    def again(
        self, releases: Releases, name: str, wanted: config.Unikernel, old: model.Release
    ) -> model.Release:
        """A fresh instance of `old`, with nothing started: the same bytes in another slot."""
        number = releases.begin(self.context.state.of(name).last())
        try:
            folder = releases.folder(number)
            with files.writing(folder):
                (folder / 'image').hardlink_to(releases.folder(old.number) / 'image')
                identity = image.identify(folder / 'image', name=old.path)
            took = image.Image(
                digest=old.digest, size=old.size, **msgspec.structs.asdict(identity))
            slot: model.Slot = 'green' if old.slot == 'blue' else 'blue'
            program = self._program(name, wanted, took, False)
            request = self._request(name, number, slot, folder, wanted, took, program)
            release = msgspec.structs.replace(
                old, number=number, slot=slot, plan=targets.plan(request))
            releases.save(release)
        except BaseException:
            releases.discard(number)
            raise
        return release

    def repacked(
        self, releases: Releases, old: model.Release | None, new: model.Release
    ) -> model.Release | None:
        """`old`, known by where `new` was found, when `new` is the same image packed anew or under
        another name; None when it is another one."""
        if old is None or not alike(old, new) or self.renewed(old):
            return None
        releases.discard(new.number)
        kept = msgspec.structs.replace(old, commit=new.commit, path=new.path, blob=new.blob)
        releases.save(kept)
        return kept

    def _request(
        self, name: str, number: int, slot: model.Slot, folder: Path, wanted: config.Unikernel,
        took: image.Image, program: str,
    ) -> targets.Request:
        """What its target is asked to plan, once this host is seen to have what it takes."""
        places = (self.context.repository.folder, self.context.repository.git_dir)
        request = targets.Request(
            name, number, slot, str(folder), wanted, took.target, self.context.owner, took.style,
            took.devices, host=facts.look(), program=program,
            largest=preflight.disks(name, wanted, places),
        )
        if took.target == 'virtio' and (trouble := devices.trouble(devices.KVM)):
            self.context.report.step(name, devices.WITHOUT_KVM.format(trouble))
        targets.plan(request)  # what does not fit is refused before the image is asked
        request = msgspec.structs.replace(request, options=preflight.options(request))
        self._fitting(request)
        preflight.owned(request)
        preflight.side_by_side(name, wanted)
        self.requests[number] = request
        return request

    def _fitting(self, request: targets.Request) -> None:
        """Say what the image may look for in vain; raises Refused when its network cannot be."""
        told = (request.unikernel, request.wanted, request.target)
        fitting.require_stack(*told, request.options)
        if missed := fitting.missing(*told, request.devices, request.options):
            self.context.report.step(request.unikernel, f'{missed.reason}: {missed.hint}')

    def _program(
        self, name: str, wanted: config.Unikernel, took: image.Image, dry: bool
    ) -> str:
        """The path of what runs the image; '' in a dry run that does not find it."""
        try:
            return preflight.tender(took.target, wanted, took.abi)
        except errors.Unavailable as missing:
            if not dry:
                raise
            self.lacking[name] = missing
            return ''

    def _taken(self, name: str, folder: Path, found: tree.Found, limit: int) -> image.Image:
        """The image, unpacked into `folder`, or moved there when the gate has unpacked it."""
        proof = self.context.state.proof(name)
        passed = proof.current()
        with files.writing(folder):
            if passed is not None and passed.blob == found.blob:
                ready = proof.folder(passed.number) / 'image'
                if ready.exists():
                    ready.replace(folder / 'image')
                    identity = image.identify(folder / 'image', name=found.path)
                    return image.Image(
                        digest=passed.digest, size=passed.size, **msgspec.structs.asdict(identity)
                    )
            self.context.report.step(name, f'unpacking {found.path} of commit {found.commit[:12]}')
            limit *= 1024 * 1024
            with self.context.repository.open(found.blob, limit, found.path) as stream:
                return image.take(stream, folder / 'image', name=found.path, limit=limit)

    def passed_gate(self, new: model.Release) -> bool:
        """Whether the push of `new` was accepted because it served."""
        passed = self.context.state.proof(new.unikernel).current()
        return passed is not None and alike(passed, new)


def _expect(target: str, wanted: config.Unikernel, name: str) -> None:
    if target not in targets.TABLE:
        raise errors.Refused(
            f'the image is built for {target}, which mirage-hooks does not launch',
            hint=f'build it for one of {", ".join(targets.TABLE)}',
        )
    if wanted.target not in (None, target):
        raise errors.Refused(
            f'the image is built for {target}, but {name}.target is {wanted.target}',
            hint=f'rebuild it with `mirage configure -t {wanted.target}`, or fix `target:` in '
            'mirage.yml',
        )
