"""A found image on its way to be a release: unpacked, identified, planned, tried."""

from __future__ import annotations

from pathlib import Path

import msgspec

from .. import errors, image, journal, model, secret, store, targets
from ..host import devices, facts
from ..switching import demands, fitting
from . import own
from .road import Road


class Candidates:
    """The releases that one converge makes."""

    def __init__(self, road: Road) -> None:
        self.road = road
        self.lacking: dict[str, errors.Unavailable] = {}  # of a dry run, by unikernel
        self.fingerprints: dict[str, str] = {}
        self.requests: dict[int, targets.Request] = {}

    def digest_secrets(self, name: str, wanted: model.Unikernel) -> None:
        """Let the fingerprint of `name` change with its secrets too."""
        if wanted.secrets:
            for file in wanted.secrets.values():
                self.road.seen.file(Path(file))
            secret.check(wanted, (self.road.repository.folder, self.road.repository.git_dir))
            secrets = secret.digest(wanted, self.road.state.key())
            self.fingerprints[name] = f'{wanted.fingerprint[:8]}{secrets[:8]}'

    def fingerprint(self, name: str, wanted: model.Unikernel) -> str:
        return self.fingerprints.get(name, wanted.fingerprint)

    def same(
        self, current: model.Release, name: str, wanted: model.Unikernel, found: model.Found
    ) -> bool:
        """Whether `current` is the image that is wanted, started as it is wanted."""
        known = (current.blob, current.fingerprint)
        return known == (found.blob, self.fingerprint(name, wanted))

    def planned(
        self, name: str, wanted: model.Unikernel, settings: model.Settings
    ) -> model.Plan:
        """The plan of `name`, with nothing kept; what runs it may be missing here (`lacking`)."""
        shelf = self.road.state.of(name)
        commit = self.road.commit(wanted, settings)
        found = own.find(self.road.repository, shelf, settings, name, commit)
        release = self.staged(shelf, name, wanted, found, settings.unpacked_limit, dry=True)
        shelf.discard(release.number)
        return release.plan

    def staged(
        self, shelf: store.Shelf, name: str, wanted: model.Unikernel, found: model.Found,
        limit: int, dry: bool = False,
    ) -> model.Release:
        """A new release, unpacked and planned; nothing of it remains when it is refused."""
        number = shelf.begin(self.road.state.of(name).last())
        try:
            folder = shelf.folder(number)
            took = self._taken(name, folder, found, limit)
            _expect(took.target, wanted, name)
            for text in fitting.disks(self.road.repository, found, took.target, wanted):
                self.road.report.step(name, text)
            old = self.road.state.of(name).current()
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
            shelf.save(release)
        except BaseException:
            shelf.discard(number)
            raise
        return release

    def _request(
        self, name: str, number: int, slot: model.Slot, folder: Path, wanted: model.Unikernel,
        took: image.Image, program: str,
    ) -> targets.Request:
        """What its target is asked to plan, once this host is seen to have what it takes."""
        places = (self.road.repository.folder, self.road.repository.git_dir)
        request = targets.Request(
            name, number, slot, str(folder), wanted, took.target, self.road.owner, took.style,
            took.devices, host=facts.look(), program=program,
            largest=demands.disks(name, wanted, places),
        )
        if took.target == 'virtio' and (trouble := devices.trouble(devices.KVM)):
            self.road.report.step(name, devices.WITHOUT_KVM.format(trouble))
        targets.plan(request)  # what does not fit is refused before the image is asked
        request = msgspec.structs.replace(request, options=demands.options(request))
        self._fitting(request)
        demands.owned(request)
        demands.side_by_side(name, wanted)
        self.requests[number] = request
        return request

    def _fitting(self, request: targets.Request) -> None:
        """Say what the image may look for in vain; raises Refused when its network cannot be."""
        told = (request.unikernel, request.wanted, request.target)
        fitting.require_stack(*told, request.options)
        if missed := fitting.missing(*told, request.devices, request.options):
            self.road.report.step(request.unikernel, f'{missed.reason}: {missed.hint}')

    def _program(
        self, name: str, wanted: model.Unikernel, took: image.Image, dry: bool
    ) -> str:
        """The path of what runs the image; '' in a dry run that does not find it."""
        try:
            return demands.tender(took.target, wanted, took.abi)
        except errors.Unavailable as missing:
            if not dry:
                raise
            self.lacking[name] = missing
            return ''

    def _taken(self, name: str, folder: Path, found: model.Found, limit: int) -> image.Image:
        """The image, unpacked into `folder`, or moved there when the gate has unpacked it."""
        proof = self.road.state.proof(name)
        passed = proof.current()
        with store.writing(folder):
            if passed is not None and passed.blob == found.blob:
                ready = proof.folder(passed.number) / 'image'
                if ready.exists():
                    ready.replace(folder / 'image')
                    identity = image.identify(folder / 'image', name=found.path)
                    return image.Image(
                        digest=passed.digest, size=passed.size, **msgspec.structs.asdict(identity)
                    )
            self.road.report.step(name, f'unpacking {found.path} of commit {found.commit[:12]}')
            limit *= 1024 * 1024
            with self.road.repository.open(found.blob, limit, found.path) as stream:
                return image.take(stream, folder / 'image', name=found.path, limit=limit)

    def passed_gate(self, new: model.Release) -> bool:
        """Whether the push of `new` was accepted because it served."""
        passed = self.road.state.proof(new.unikernel).current()
        return passed is not None and alike(passed, new)


def alike(old: model.Release, new: model.Release) -> bool:
    return (old.digest, old.fingerprint) == (new.digest, new.fingerprint)


def _expect(target: str, wanted: model.Unikernel, name: str) -> None:
    if target not in targets.TABLE:
        raise errors.Refused(
            f'the image is built for {target}, which mirage-hooks does not launch',
            hint=f'build it for one of {", ".join(targets.TABLE)}',
        )
    if wanted.target not in (None, target):
        raise errors.Refused(
            f'the image is built for {target}, but {name}.target is {wanted.target}',
            hint=f'rebuild it with `mirage configure -t {wanted.target}`, or mend `target:` in '
            'mirage.yml',
        )
